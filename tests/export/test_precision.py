"""Reduced precisions: what is written, what it costs, and that its cost is measured honestly."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from crossrun.v1 import vision_pb2
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_export import convert, pictures, publish, sources, verify
from crossrun_export.backend import keras
from crossrun_export.errors import ExportError
from crossrun_export.options import Limits
from crossrun_export.pipeline import export
from crossrun_export.publish import Draft
from crossrun_export.quantize import quantize
from crossrun_server.runtime import providers
from crossrun_server.runtime.session import Session
from tests.support.keras_models import options, tell_apart, with_labels
from tests.support.proofs import load
from tests.support.running import Command, serving

ANY = Limits(max_top1_drop=100, min_agreement=0)  # random weights are not robust
NAMES = ["mobilenet", "mobilenet-fp16", "mobilenet-int8"]


@pytest.fixture(scope="module")
def exported(exported_small: Path) -> Path:
    return exported_small


def names(repository: Path) -> list[str]:
    return sorted(path.name for path in repository.iterdir())


def metadata(repository: Path, name: str) -> dict[str, Any]:
    model = onnx.load(repository / name / "1" / "model.onnx")
    return {p.key.removeprefix("crossrun."): json.loads(p.value) for p in model.metadata_props}


def kinds(model: Path | bytes, folder: Path) -> Counter[str]:
    """The nodes that onnxruntime really runs, by their type."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)


# --- What is written -------------------------------------------------------------------------


def test_each_precision_is_a_model_of_its_own(exported: Path) -> None:
    """NAME, NAME-int8, NAME-fp16: the same labels, the same source on the disk once, any config."""
    assert names(exported) == NAMES
    sizes = []
    for name in NAMES:
        assert names(exported / name) == ["1", "config.pbtxt", "labels.txt"]
        assert (exported / name / "labels.txt").read_text().startswith("label 0\nlabel 1\n")
        assert f'name: "{name}"' in (exported / name / "config.pbtxt").read_text()
        source = exported / name / "1" / "model.keras"
        assert source.samefile(exported / "mobilenet" / "1" / "model.keras")
        sizes.append((exported / name / "1" / "model.onnx").stat().st_size)
    fp32, fp16, int8 = sizes
    assert int8 < 0.4 * fp32
    assert fp16 < 0.6 * fp32


def test_the_file_says_what_the_precision_costs(exported: Path, drawings: Path) -> None:
    """Precision, price and calibration travel in the metadata; fp32 keeps its parity."""
    found = {name: metadata(exported, name) for name in NAMES}
    assert [found[name]["precision"] for name in NAMES] == ["fp32", "fp16", "int8"]
    assert found["mobilenet"]["parity"]["images"] == 102
    assert "price" not in found["mobilenet"]
    for name in NAMES[1:]:
        cost = found[name]["price"]
        assert (cost["images"], cost["views"]) == (102, 4)
        assert -1 <= cost["top1_change"] <= cost["top1"] <= 1
        assert cost["top5_change"] is cost["top5"] is None  # of four classes
        assert 0 < cost["top1_agreement"] <= 1
        assert 0 < cost["max_abs_diff"] < 1
        assert (drawings / cost["worst"]).exists()
    calibration = found["mobilenet-int8"]["calibration"]
    assert calibration["pictures"] == len(calibration["sha256"]) == 34
    best = max(calibration["agreement"].values())
    assert calibration["agreement"][calibration["method"]] == best
    assert len(calibration["agreement"]) == 3
    assert "calibration" not in found["mobilenet-fp16"]


def test_each_precision_travels_with_its_proof(exported: Path) -> None:
    """What the server finds is what the export saw, well within what it allows anywhere."""
    for name, precision in zip(NAMES, ("fp32", "fp16", "int8"), strict=True):
        (found, *_) = load(exported, name=name)
        assert (found.precision, found.rows) == (precision, 8)
        assert found.difference is not None
        assert found.allowed is not None
        assert found.difference < 0.7 * found.allowed < 1
        assert found.origin == "photographs"


def test_all_precisions_are_served_side_by_side(
    exported: Path, drawings: Path, tmp_path: Path
) -> None:
    """A client names the one it wants; each gives the scores that its file gives in process."""
    file = next(drawings.rglob("*.png"))
    pixels = np.asarray(Image.open(file))[np.newaxis]
    with (
        serving(exported, tmp_path / "log", "--provider", "cpu") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        for name in NAMES:
            request = vision_pb2.ClassifyRequest(model=name, images=[file.read_bytes()], top_k=4)
            (result,) = VisionStub(channel).Classify(request).results
            # As the server's: without VNNI onnxruntime's own int8 would be wrong in process.
            session = Session(exported / name / "1" / "model.onnx", providers.parse("cpu"))
            (output,) = session.outputs
            ((expected,),) = session.run({"image": pixels}, [output.name]).values()
            got = {found.index: found.score for found in result.classes}
            assert [got[i] for i in range(4)] == pytest.approx(expected, abs=2e-3)


def test_all_but_the_first_block_runs_in_int8(exported: Path, tmp_path: Path) -> None:
    """What onnxruntime runs: two convolutions in float, all others and the product in int8.

    The pixels become floats in one step, and what comes out of the block is quantized once.
    How tensors are laid out between these differs: by blocks of channels as wide as the vectors
    of AVX-512 or AVX2, and as they are on processors that onnxruntime has no such kernels for.
    """
    found = kinds(exported / "mobilenet-int8" / "1" / "model.onnx", tmp_path)
    layouts = {"ReorderInput", "ReorderOutput", "Transpose"}
    assert {kind: count for kind, count in found.items() if kind not in layouts} == {
        "DequantizeLinear": 1, "Conv": 2, "QuantizeLinear": 1, "QLinearConv": 25,
        "QLinearGlobalAveragePool": 1, "Flatten": 1, "QGemm": 1, "Softmax": 1,
    }  # fmt: skip


def test_a_float_input_goes_in_as_it_comes(
    small: sources.Source, drawings: Path, tmp_path: Path
) -> None:
    """With --input-dtype float32 one node less, and nothing else changes."""
    wanted = {"precisions": ("int8",), "input_dtype": "float32", "limits": ANY, "images": drawings}
    (only,) = export(small, options(tmp_path / "models", **wanted))
    assert names(tmp_path / "models") == ["mobilenet-int8"]
    found = kinds(only.version / "model.onnx", tmp_path)
    assert (found["QLinearConv"], found["QuantizeLinear"], found["DequantizeLinear"]) == (25, 1, 0)
    calibration = metadata(tmp_path / "models", "mobilenet-int8")["calibration"]
    assert (calibration["pictures"], calibration["sha256"]) == (64, [])


@pytest.mark.parametrize(
    ("make", "taken", "expected"),
    [
        (
            lambda: keras.applications.MobileNetV2((64, 64, 3), 0.35, weights=None, classes=4),
            "-1..1",
            {"Conv": 2, "QLinearConv": 50, "QLinearAdd": 10, "QGemm": 1, "Softmax": 1},
        ),
        (
            lambda: keras.applications.MobileNetV3Small((64, 64, 3), weights=None, classes=4),
            "0..255",
            {"Conv": 2, "QLinearConv": 51, "QLinearAdd": 33, "QLinearMul": 54, "QGemm": 1},
        ),
    ],
    ids=["MobileNetV2", "MobileNetV3Small"],
)
def test_any_keras_classifier_can_be_exported(
    make: Any, taken: str, expected: dict[str, int], drawings: Path, tmp_path: Path
) -> None:
    """Equal in fp32; residuals, hard-swish and squeeze-excite in int8 too, and nothing runs away.

    One that rescales by itself takes 0..255.
    """
    keras.utils.set_random_seed(5)
    model = make()
    tell_apart(model)
    model.save(tmp_path / "other.keras")
    source = sources.keras_file(tmp_path / "other.keras", None, None)
    assert source.preprocessing.scaling.name == taken
    wanted = {"name": "other", "precisions": ("fp32", "int8", "fp16"), "limits": ANY}
    made = export(source, options(tmp_path / "models", **wanted, calibration=drawings))
    fp32, int8, fp16 = (one.made.cost for one in made)
    assert fp32.top1_agreement == 1
    assert fp16.max_abs_diff < 0.1
    assert int8.max_abs_diff < 0.9
    assert int8.top1_agreement > 0.4  # such weights amplify every rounding
    found = kinds(made[1].version / "model.onnx", tmp_path)
    assert {kind: found[kind] for kind in expected} == expected
    assert not {"FusedConv", "MatMul", "Gemm"} & set(found)
    assert metadata(tmp_path / "models", "other")["source"]["weights"] == "other.keras"


def test_a_normalization_by_channel_stays_float(drawings: Path, tmp_path: Path) -> None:
    """A mean and a variance for each channel cannot be the pixels' one scale: three nodes stay."""
    norm = keras.layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.04, 0.05, 0.06])
    convolution = keras.layers.Conv2D(8, 3, activation="relu")
    layers = [keras.layers.Rescaling(1 / 255), norm, convolution]
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(4, "softmax")]
    keras.utils.set_random_seed(6)
    keras.Sequential([keras.Input((64, 64, 3)), *layers]).save(tmp_path / "normed.keras")
    source = sources.keras_file(tmp_path / "normed.keras", None, None)
    wanted = {"name": "normed", "precisions": ("fp32", "int8"), "calibration": drawings}
    _, int8 = export(source, options(tmp_path / "models", **wanted, limits=ANY))
    assert [value.name for value in onnx.load(int8.version / "model.onnx").graph.input] == ["image"]
    assert int8.made.cost.top1_agreement > 0.9
    found = kinds(int8.version / "model.onnx", tmp_path)
    assert (found["QLinearConv"], found["QGemm"], found["QuantizeLinear"]) == (1, 1, 1)


# --- What is refused -------------------------------------------------------------------------


def test_a_breach_writes_nothing_of_any_precision(
    small: sources.Source, drawings: Path, tmp_path: Path
) -> None:
    """Also fp32, which was within its tolerance, is not written."""
    wanted = {"precisions": ("fp32", "fp16"), "limits": Limits(min_agreement=1.01)}
    wanted["images"] = drawings / "label 0"
    with pytest.raises(ExportError, match=r"fp16 agrees with the original on .* in 4 views"):
        export(small, options(tmp_path / "models", **wanted))
    assert names(tmp_path / "models") == []


def test_precisions_are_published_together_or_not_at_all(tmp_path: Path) -> None:
    """A draft that cannot be moved takes those before it back, versions and models alike."""
    drafts = []
    for name in ("there", "new", "broken"):
        files = tmp_path / ".staging" / name
        files.mkdir(parents=True)
        (files / "model.onnx").write_bytes(b"")
        drafts.append(Draft(name, files, "config", ()))
    (tmp_path / "there" / "1").mkdir(parents=True)
    shutil.rmtree(tmp_path / ".staging" / "broken")
    with pytest.raises(FileNotFoundError):
        publish.publish(drafts, tmp_path)
    assert names(tmp_path) == [".staging", "there"]
    assert names(tmp_path / "there") == ["1"]


def test_one_model_of_another_kind_refuses_all(
    small: sources.Source, drawings: Path, tmp_path: Path
) -> None:
    """Where NAME-fp16 has other labels, NAME does not get its new version either."""
    wanted: dict[str, Any] = {"limits": ANY, "images": drawings / "label 0"}
    export(with_labels(small, 3), options(tmp_path, precisions=("fp16",), **wanted))
    with pytest.raises(ExportError, match="mobilenet-fp16 is a model with other labels"):
        export(small, options(tmp_path, precisions=("fp32", "fp16"), **wanted))
    assert names(tmp_path) == ["mobilenet-fp16"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ("--precision", "fp32,int4"),
            "--precision 'int4': expected some of fp32, int8, fp16",
        ),
        (
            ("--precision", "fp16", "--calibration", "."),
            "--calibration is for int8, and --precision asks for fp16 only",
        ),
    ],
)
def test_options_that_make_no_sense_are_named(
    options: tuple[str, ...], expected: str, tmp_path: Path, run: Command
) -> None:
    """One line each, before TensorFlow is loaded."""
    ended = run("crossrun-export", "mobilenet", "--output", tmp_path, *options)
    assert ended.returncode == 1
    assert ended.stderr == f"crossrun-export: {expected}\n"


def test_a_model_without_weights_is_not_quantized(tmp_path: Path) -> None:
    """There is nothing to quantize in it, and the message says so."""
    layers = (keras.layers.GlobalAveragePooling2D(), keras.layers.Softmax())
    keras.Sequential([keras.Input((8, 8, 3)), *layers]).save(tmp_path / "plain.keras")
    source = sources.keras_file(tmp_path / "plain.keras", "0..255", None)
    inputs = pictures.drawn(source, 1, 4).stretched
    with pytest.raises(ExportError, match="no convolution and no dense layer to quantize"):
        quantize(convert.to_onnx(source, "uint8"), inputs, lambda _: None, verify.merit("softmax"))


# --- Real weights ----------------------------------------------------------------------------


@pytest.mark.long
def test_real_weights_keep_their_answers(
    keras_home: str, photographs: Path, tmp_path: Path, run: Command
) -> None:
    """MobileNet 1.0/224 with ImageNet weights: equal in fp32, within a point in int8.

    As few photographs as an export takes are enough for that: it wants 32 to calibrate on.
    """
    some = tmp_path / "some"
    some.mkdir()
    for folder in sorted(photographs.iterdir())[:128]:
        (some / folder.name).symlink_to(folder)
    ended = run(
        "crossrun-export", "mobilenet", "--precision", "fp32,int8",
        "--calibration", some, "--max-top1-drop", 1, "--min-reduced-agreement", 0.965,
        "--output", tmp_path / "models", env={"KERAS_HOME": keras_home},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    *_, fp32, int8 = ended.stderr.splitlines()
    assert fp32.startswith(f"{tmp_path}/models/mobilenet/1: equal to Keras on 96 pictures")
    assert "top-1 100.00%, top-5 100.00%" in fp32
    assert int8.startswith(f"{tmp_path}/models/mobilenet-int8/1: 4.3")
    assert "of 96 pictures in 4 views" in int8
    labels = (tmp_path / "models" / "mobilenet-int8" / "labels.txt").read_text().splitlines()
    assert (len(labels), labels[0], labels[285]) == (1000, "tench", "Egyptian_cat")
    source = metadata(tmp_path / "models", "mobilenet-int8")["source"]
    weights = Path(keras_home) / "models" / "mobilenet_1_0_224_tf.h5"
    assert (source["weights"], source["sha256"]) == ("imagenet", sources.sha256(weights))
    files = [
        tmp_path / "models" / name / "1" / "model.onnx" for name in ("mobilenet", "mobilenet-int8")
    ]
    assert files[1].stat().st_size < 0.28 * files[0].stat().st_size
