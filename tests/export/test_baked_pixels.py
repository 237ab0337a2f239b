"""What the export assumes of pixels is in the graph, in the metadata, and in what reads those."""

import io
import json
import re
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from PIL import Image

from crossrun.v1 import vision_pb2
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_bench.errors import BenchError
from crossrun_bench.models.model import scaled
from crossrun_bench.models.repository import read_model
from crossrun_bench.targets.task import Task
from crossrun_export import alternatives, convert, inference, pictures, runtime, sources
from crossrun_export.backend import keras
from crossrun_export.errors import ExportError
from crossrun_export.options import Limits
from crossrun_export.pipeline import export
from crossrun_export.preprocessing import assume
from crossrun_export.sources import Source
from tests.support import models
from tests.support.keras_models import options, strongest
from tests.support.running import Command, run_here, serving

layers = keras.layers
LABELS = ("a", "b", "c", "d")
TORCH, CAFFE = keras.applications.densenet, keras.applications.resnet
OWN = "scale=0.01/0.02/0.03,offset=-1/-2/-3,color=BGR"
# What people do by hand, from RGB floats 0 … 255.
BY_HAND = {
    "0..255": lambda x: x,
    "0..1": lambda x: x / 255,
    "-1..1": lambda x: x / 127.5 - 1,
    "torch": TORCH.preprocess_input,
    "caffe": CAFFE.preprocess_input,
    "scale=0.5,offset=-7": lambda x: x / 2 - 7,
    OWN: lambda x: x[..., ::-1] * [0.01, 0.02, 0.03] - [1, 2, 3],
}


@pytest.fixture(scope="module")
def net() -> Any:
    """A network whose scores tell of any range and colour: logarithms do not saturate."""
    keras.utils.set_random_seed(8)
    image = keras.Input((16, 16, 3))
    value = layers.GlobalAveragePooling2D()(keras.ops.arcsinh(layers.Conv2D(16, 3)(image)))
    return keras.Model(image, layers.Dense(4, "softmax")(value), name="net")


@pytest.fixture(scope="module")
def pixels() -> pictures.Pixels:
    """Noise of many hues."""
    rng = np.random.default_rng(5)
    hues = rng.integers(0, 200, (6, 1, 1, 3))
    return (hues + rng.integers(0, 56, (6, 16, 16, 3))).astype(np.uint8)


def source_of(net: Any, asked: str) -> Source:
    return Source(net, LABELS, "random", "0" * 64, assume(net, asked))


@pytest.mark.parametrize("asked", BY_HAND)
def test_every_scaling_is_baked_into_the_graph(
    asked: str, net: Any, pixels: pictures.Pixels
) -> None:
    """ONNX on bytes answers what Keras answers on floats that are scaled by hand."""
    by_hand = np.asarray(BY_HAND[asked](pixels.astype(np.float32)), np.float32)
    expected = net.predict(by_hand, verbose=0)
    assert np.ptp(expected, axis=0).max() > 0.01
    model = convert.to_onnx(source_of(net, asked), "uint8")
    assert runtime.scores(model, pixels) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
def test_a_saved_model_that_preprocesses_itself_is_given_pixels(
    mode: str, dtype: str, net: Any, pixels: pictures.Pixels, tmp_path: Path
) -> None:
    """Operations survive the file; nothing is scaled twice, whatever number type it takes."""
    image = keras.Input((16, 16, 3), dtype=dtype)
    preprocess = keras.applications.imagenet_utils.preprocess_input
    scores = net(preprocess(keras.ops.cast(image, "float32"), mode=mode))
    keras.Model(image, scores).save(tmp_path / "own.keras")
    source = sources.keras_file(tmp_path / "own.keras", None, None)
    assert source.preprocessing.scaling.name == "0..255"
    by_hand = preprocess(pixels.astype(np.float32), mode=mode)
    found = runtime.scores(convert.to_onnx(source, "uint8"), pixels)
    assert found == pytest.approx(net.predict(by_hand, verbose=0), abs=1e-5)


def test_constants_that_are_tensors_stay_constants(net: Any, pixels: pictures.Pixels) -> None:
    """As those of a second Normalization: the exported model has one input, and their values."""
    image = keras.Input((16, 16, 3))
    twice = layers.Normalization(mean=[0.5, 0.4, 0.3], variance=[0.06] * 3)
    value = twice(layers.Normalization(axis=None, mean=0.0, variance=255.0**2)(image))
    half = keras.ops.convert_to_tensor(0.5)
    own = keras.Model(image, keras.ops.multiply(net(value), half), name="own")
    expected = own.predict(pixels.astype(np.float32), verbose=0)
    model = convert.to_onnx(Source(own, LABELS, "random", "0" * 64, assume(own, None)), "uint8")
    assert runtime.scores(model, pixels) == pytest.approx(expected, abs=1e-5)


@pytest.fixture(scope="module")
def repository(net: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The net with pixels of two kinds, taking bytes and taking floats."""
    output = tmp_path_factory.mktemp("baked")
    for name, asked in (("torch", "torch"), ("caffe", "caffe"), ("own", OWN)):
        for dtype in ("uint8", "float32"):
            wanted: dict[str, Any] = {"name": f"{name}-{dtype}", "input_dtype": dtype}
            export(source_of(net, asked), options(output, **wanted))
    return output


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_classify_gives_the_answers_of_keras(
    repository: Path, net: Any, pixels: pictures.Pixels, dtype: str, tmp_path: Path
) -> None:
    """Encoded pictures to a real server: whatever the input's type, torch, caffe and one's own."""
    encoded = [_png(one) for one in pixels]
    with (
        serving(repository, tmp_path / "log") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        for name, asked in (("torch", "torch"), ("caffe", "caffe"), ("own", OWN)):
            request = vision_pb2.ClassifyRequest(model=f"{name}-{dtype}", images=encoded)
            results = VisionStub(channel).Classify(request).results
            found = [[c.score for c in sorted(r.classes, key=lambda c: c.index)] for r in results]
            by_hand = np.asarray(BY_HAND[asked](pixels.astype(np.float32)), np.float32)
            assert np.array(found) == pytest.approx(net.predict(by_hand, verbose=0), abs=1e-5)


def _png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_bench_gives_the_source_the_same_numbers(
    repository: Path, pixels: pictures.Pixels, net: Any
) -> None:
    """To the last bit what the export verified with; TensorFlow's graph answers as Keras does."""
    from crossrun_bench.pictures.pictures import Batch, Pictures
    from crossrun_bench.targets.runners.tensorflow_ import TensorFlowFunction

    for name, asked in (("torch", "torch"), ("caffe", "caffe"), ("own", OWN)):
        model = read_model(repository, f"{name}-float32")
        verified = inference.inputs_of(source_of(net, asked), pixels, "float32")
        assert np.array_equal(scaled(model, pixels), verified)
        runner = TensorFlowFunction(Task("tf-function", model, Pictures("", ())))
        found = runner.run(Batch(pixels, ()))
        assert found == pytest.approx(net.predict(verified, verbose=0), abs=1e-5)


def metadata(file: Path) -> dict[str, Any]:
    (found,) = [
        p.value for p in onnx.load(file).metadata_props if p.key == "crossrun.preprocessing"
    ]
    return dict(json.loads(found))


def test_the_metadata_say_what_was_assumed_and_why(repository: Path, small: Source) -> None:
    """Name and reason; one number where all channels have it, else three in the order of color."""
    found = metadata(repository / "caffe-uint8" / "1" / "model.onnx")
    assert (found["pixels"], found["because"], found["color"]) == ("caffe", "asked for", "BGR")
    assert (found["scale"], found["offset"]) == (1.0, [-103.939, -116.779, -123.68])
    assert small.preprocessing.scaling.shortest == (1 / 127.5, -1.0)
    assert small.preprocessing.because == "MobileNet's own"


@pytest.mark.parametrize(
    "broken",
    [
        {"scale": [1, 2]},
        {"scale": "x"},
        {"scale": 1, "offset": [[0]]},
        {"scale": 1, "color": "BRG"},
    ],
)
def test_numbers_that_fit_no_three_channels_are_refused(
    broken: dict[str, Any], tmp_path: Path
) -> None:
    """By the server, where the input is FP32, and by the bench: neither guesses."""
    model = models.dominant_colour("image", "scores", ["batch", 8, 8, 3], (1, 2))
    properties = {"crossrun.preprocessing": json.dumps({"offset": 0} | broken)}
    onnx.helper.set_model_props(model, properties | {"crossrun.source": "{}"})
    models.write(tmp_path, "m", model, "max_batch_size: 4")
    with pytest.raises(BenchError, match=r"crossrun\.preprocessing"):
        read_model(tmp_path, "m")
    with (
        serving(tmp_path, tmp_path / "log") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        request = vision_pb2.ClassifyRequest(
            model="m", images=[_png(np.zeros((8, 8, 3), np.uint8))]
        )
        with pytest.raises(grpc.RpcError, match="says wrongly how pixels are scaled"):
            VisionStub(channel).Classify(request)


# --- Is it the right range? ------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled MobileNet as somebody's own file, with labels beside it."""
    folder = tmp_path_factory.mktemp("saved")
    bundled = sources.mobilenet(None, None, "bundled", None)
    bundled.model.save(folder / "net.keras")
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in bundled.labels))
    return folder


def test_a_range_that_answers_clearly_worse_is_refused(saved: Path, tmp_path: Path) -> None:
    """Labelled pictures show it, though Keras and ONNX agree; the right one is named."""
    words = ["keras", str(saved / "net.keras"), "--labels", str(saved / "labels.txt")]
    ended = run_here(
        ["crossrun-export", *words, "--pixels", "0..1", "--output", str(tmp_path / "models")]
    )
    assert ended.returncode == 1
    line = ended.stderr.splitlines()[-1]
    assert "with pixels 0..1 " in line
    assert line.endswith("say what the model takes, --pixels -1..1")
    assert not list(tmp_path.rglob("model.onnx"))


def test_all_ranges_that_answer_best_are_named() -> None:
    """Nobody is told to take the first of several that a measurement does not tell apart."""
    colours = np.eye(3, dtype=np.uint8).repeat(12, axis=0)[:, None, None] * 200
    some = colours.repeat(8, axis=1).repeat(8, axis=2)
    names = tuple(f"{place}.png" for place in range(len(some)))
    seen = pictures.Pictures(some, some, names, names, np.arange(3).repeat(12))
    source = Source(strongest(), LABELS[:3], "random", "0" * 64, assume(strongest(), "caffe"))
    with pytest.raises(ExportError, match=r"--pixels 0\.\.255 or 0\.\.1 or -1\.\.1 or torch$"):
        alternatives.compare(source, seen)


def test_the_right_range_is_told_with_what_others_would_answer(saved: Path, tmp_path: Path) -> None:
    """What was assumed and why, then top-1 in each range; without labels mean confidence."""
    words = ["keras", str(saved / "net.keras"), "--output", str(tmp_path / "models")]
    ended = run_here(["crossrun-export", *words, "--labels", str(saved / "labels.txt")])
    assert ended.returncode == 0, ended.stderr
    _, assumed, *_, seen, _ = ended.stderr.splitlines()
    assert assumed == "pixels -1..1: MobileNet's own, by architecture"
    assert re.match(r"top-1 on 128 pictures: 9\d\.\d\d% with pixels -1\.\.1; ", seen)
    ended = run_here(["crossrun-export", *words, "--name", "unlabelled"])
    assert ended.stderr.splitlines()[-2].startswith("mean confidence on 32 pictures: ")


def test_int8_takes_bgr_and_a_mean_by_channel(net: Any, tmp_path: Path) -> None:
    """Its entrance keeps what one scale cannot say."""
    wanted = {"precisions": ("fp32", "int8"), "limits": Limits(100, 0.5)}
    _, int8 = export(source_of(net, "caffe"), options(tmp_path, **wanted))
    assert int8.made.cost.top1_agreement > 0.9


def test_a_photographers_net_with_the_wrong_range_is_refused(
    keras_home: str, photographs: Path, tmp_path: Path, run: Command
) -> None:
    """ImageNet weights and photographs: 0..255 for a MobileNet that takes -1..1."""
    ended = run(
        "crossrun-export", "mobilenet", "--alpha", 0.25, "--size", 128, "--images", photographs,
        "--pixels", "0..255", "--output", tmp_path, env={"KERAS_HOME": keras_home},
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith("say what the model takes, --pixels -1..1")
