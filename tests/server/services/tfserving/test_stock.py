"""TensorFlow Serving's own API against the server, in a process that has nothing of ours."""

from pathlib import Path

import onnx

from crossrun_export.backend import keras, tf2onnx
from tests.support import keras_models, models
from tests.support.running import run_client, serving


def test_the_api_of_tensorflow_serving_finds_what_it_asks_for(tmp_path: Path) -> None:
    """Every type, the answers of the SavedModel itself, classes, metadata, states and errors."""
    model = keras_models.headed(keras.layers.Dense(4, activation="softmax"))
    model.export(str(tmp_path / "saved"), verbose=False)
    proto, _ = tf2onnx.convert.from_keras(model, opset=17)
    onnx.checker.check_model(proto)
    root = models.write_all(tmp_path / "models")
    models.write(root, "exported", proto, "max_batch_size: 4")
    with serving(root, tmp_path / "log") as server:
        run_client("stock_tfserving", server.address, str(tmp_path / "saved"), "exported")
