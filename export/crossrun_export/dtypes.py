"""What a Keras model computes in, as its layers' dtype policies have it."""

from crossrun_export.backend import keras
from crossrun_export.errors import ExportError
from crossrun_export.options import Computes

COMPUTED = ("float32", "float16")


def of(model: keras.Model) -> Computes:
    """What a model computes in: "float16" where any layer does, else "float32".

    Raises:
        ExportError: a layer computes in another one, which ONNX's operators do not know.
    """
    found = {layer.compute_dtype: layer.name for layer in model._flatten_layers(include_self=False)}
    for dtype, name in found.items():
        if dtype.startswith(("float", "bfloat")) and dtype not in COMPUTED:
            raise ExportError(
                f"{model.name} computes in {dtype} (layer {name}), which cannot be exported; "
                "--float32 computes it in float32, with the same weights"
            )
    return "float16" if "float16" in found else "float32"


def coarsest(model: keras.Model) -> Computes:
    """What its answers' precision comes from: what it computes in, or casts its output to."""
    found = of(model)
    return "float16" if model.outputs[0].dtype == "float16" else found


def in_float32(model: keras.Model) -> keras.Model:
    """The same layers with the same weights, computing in float32.

    Raises:
        ExportError: it is no graph of layers that can be made again.
    """

    def made(layer: keras.Layer) -> keras.Layer:
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})

    try:
        clone = keras.models.clone_model(model, clone_function=made, recursive=True)
        clone.set_weights(model.get_weights())
    except Exception as error:  # each layer raises what it likes
        raise ExportError(f"--float32: {model.name} cannot be made again: {error}") from error
    return clone
