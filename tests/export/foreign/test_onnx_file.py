"""ONNX files as sources: what they are made of and what they say of themselves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as Tp
from onnx import helper

from crossrun_export import runtime
from crossrun_export.errors import ExportError
from crossrun_export.foreign import onnx_file, onnx_metadata
from crossrun_export.scaling import parse
from tests.support import onnx_files
from tests.support.onnx_files import SIDE, brightness

PICTURES = np.random.default_rng(2).random((1, 3, SIDE, SIDE), np.float32)


def saved(model: onnx.ModelProto, folder: Path, **changes: Any) -> Path:
    onnx.save(model, folder / "model.onnx", **changes)
    return folder / "model.onnx"


def test_a_file_is_adopted_as_it_is(tmp_path: Path) -> None:
    """Its shapes, its names, and its bytes; onnxruntime answers."""
    path = saved(brightness(batch="N"), tmp_path)
    source = onnx_file.load(path)
    picture = source.picture
    assert (picture.name, picture.axes, picture.batch) == ("pixels", "NCHW", -1)
    assert picture.size == (SIDE, SIDE)
    assert [(it.name, it.shape) for it in source.outputs] == [("scores", (-1, 3))]
    means = 9 * PICTURES.mean(axis=(2, 3))
    expected = np.exp(means) / np.exp(means).sum()
    np.testing.assert_allclose(source.ask(PICTURES)["scores"], expected, rtol=1e-5)
    (tmp_path / "beside").mkdir()
    source.save(tmp_path / "beside")
    assert (tmp_path / "beside" / source.file).read_bytes() == path.read_bytes()


def test_weights_in_another_file_come_along(tmp_path: Path) -> None:
    """What is kept is one file, which needs no other."""
    path = saved(
        brightness(), tmp_path, save_as_external_data=True, location="weights", size_threshold=0
    )
    assert (tmp_path / "weights").exists()
    source = onnx_file.load(path)
    (tmp_path / "weights").unlink()
    source.save(tmp_path)
    again = onnx_file.load(tmp_path / source.file)
    assert np.array_equal(again.ask(PICTURES)["scores"], source.ask(PICTURES)["scores"])
    with pytest.raises(ExportError, match=r"model\.onnx is no ONNX model"):
        onnx_file.load(path)


@pytest.mark.parametrize("opset", [9, 13])
def test_older_operators_are_brought_to_newer_ones(opset: int, tmp_path: Path) -> None:
    """The graph is in the opset of all exports; the answers are those of the file."""
    source = onnx_file.load(saved(brightness(opset=opset), tmp_path))
    assert [it.version for it in source.graph.opset_import] == [17]
    (got,) = runtime.outputs(source.graph, PICTURES).values()
    np.testing.assert_allclose(got, source.ask(PICTURES)["scores"], rtol=1e-6)


def test_operators_that_are_too_old_are_refused(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    model = onnx_files.model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [value("x", Tp.FLOAT, [1, 3, SIDE, SIDE])],
        [value("y", Tp.FLOAT, [1, 3, SIDE, SIDE])],
        {},
        opset=6,
    )
    with pytest.raises(ExportError, match=r"has operators of opset 6, .* in opset 17 or later"):
        onnx_file.load(saved(model, tmp_path))


def test_weights_among_the_inputs_are_no_inputs(tmp_path: Path) -> None:
    """ONNX's first files name every weight as an input."""
    model = brightness()
    for tensor in model.graph.initializer:
        kind = helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        model.graph.input.append(kind)
    source = onnx_file.load(saved(model, tmp_path))
    assert [value.name for value in source.graph.graph.input] == ["pixels"]
    assert source.ask(PICTURES)["scores"].shape == (1, 3)


def test_what_takes_no_picture_is_refused(tmp_path: Path) -> None:
    """Each message says what the file takes, and what was expected."""
    value = helper.make_tensor_value_info
    for inputs, message in (
        ([value("x", Tp.FLOAT, [1, 10])], r"takes x, float32 \[1, 10\]; expected numbers \[batch"),
        ([value("x", Tp.FLOAT, [1, 4, 8, 8])], r"takes x, float32 \[1, 4, 8, 8\]"),
        ([value("x", Tp.BOOL, [1, 3, 8, 8])], r"takes x, bool \[1, 3, 8, 8\]"),
        (
            [value("x", Tp.FLOAT, [1, 3, 8, 8]), value("z", Tp.FLOAT, [1])],
            "has 2 inputs, x, z; expected one, of pictures",
        ),
    ):
        nodes = [helper.make_node("Shape", ["x"], ["y"])]
        model = onnx_files.model(nodes, inputs, [value("y", Tp.INT64, [None])], {})
        with pytest.raises(ExportError, match=message):
            onnx_file.load(saved(model, tmp_path))


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"none\.onnx is not a file; expected a model, \.onnx"):
        onnx_file.load(tmp_path / "none.onnx")
    for content in (b"", b"no model at all"):
        (tmp_path / "text.onnx").write_bytes(content)
        with pytest.raises(ExportError, match=r"text\.onnx is no ONNX model"):
            onnx_file.load(tmp_path / "text.onnx")
    unknown = brightness()
    unknown.graph.node[0].domain = "other"
    unknown.opset_import.append(helper.make_opsetid("other", 1))
    with pytest.raises(ExportError, match=r"onnxruntime cannot run .*other"):
        onnx_file.load(saved(unknown, tmp_path))


def test_a_quantized_file_says_so(tmp_path: Path) -> None:
    model = brightness()
    *_, softmax = model.graph.node
    rounding = [
        helper.make_node("QuantizeLinear", ["steeper", "step"], ["whole"]),
        helper.make_node("DequantizeLinear", ["whole", "step"], ["near"]),
    ]
    softmax.input[0] = "near"
    model.graph.node.extend([*rounding, softmax])
    del model.graph.node[-4]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0.05, np.float32), "step"))
    assert onnx_file.load(saved(model, tmp_path)).computes == "int8"
    assert onnx_file.load(saved(brightness(), tmp_path)).computes == "float32"


def test_zero_points_are_shared_by_no_two_weights(tmp_path: Path) -> None:
    """onnxruntime does not load a model where they are, if it makes weights unsigned."""
    model = brightness()
    names = ("one", "other", "third")
    weights: dict[str, np.ndarray[Any, Any]] = {name: np.ones(4, np.int8) for name in names}
    weights |= {"step": np.array(0.1, np.float32), "zero": np.array(0, np.int8)}
    for name in names:
        node = helper.make_node("DequantizeLinear", [name, "step", "zero"], [f"{name}_real"])
        model.graph.node.append(node)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name) for name, value in weights.items()
    )
    graph = onnx_file.load(saved(model, tmp_path)).graph.graph
    values = {it.name: onnx.numpy_helper.to_array(it) for it in graph.initializer}
    zeros = [node.input[2] for node in graph.node if node.op_type == "DequantizeLinear"]
    assert len(set(zeros)) == 3
    assert [values[name].tolist() for name in zeros] == [0, 0, 0]


# --- What a file says of itself --------------------------------------------------------------


OURS = {"pixels": "mine", "scale": [0.017, 0.0175, 0.0174], "offset": [-2.1, -2, -1.8]}


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({}, None),
        (
            {"crossrun.preprocessing": json.dumps(OURS | {"color": "BGR"})},
            "scale=0.017/0.0175/0.0174,offset=-2.1/-2/-1.8,color=BGR",
        ),
        ({"crossrun.preprocessing": '{"scale": 1, "offset": 0}'}, "0..255"),
        (
            {
                "Image.BitmapPixelFormat": "Rgb8",
                "Image.NominalPixelRange": "Normalized_1_1",
            },
            "-1..1",
        ),
        (
            {
                "Image.BitmapPixelFormat": "Bgr8",
                "Image.NominalPixelRange": "NominalRange_0_255",
            },
            "scale=1.0,offset=0.0,color=BGR",
        ),
        ({"Image.NominalPixelRange": "Normalized_1_1"}, None),  # RGB or BGR is not said
        (
            {"Image.BitmapPixelFormat": "Rgb8", "Image.NominalPixelRange": "NominalRange_16_235"},
            None,
        ),
        ({"author": "Ultralytics"}, "0..1"),
    ],
)
def test_metadata_tell_the_pixels(about: dict[str, str], expected: str | None) -> None:
    found = onnx_metadata.pixels(about)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found.scaling == parse(expected)


def test_metadata_that_cannot_be_read_are_refused() -> None:
    for text in ("no JSON", "[]", '{"scale": 1}', '{"scale": 0, "offset": 0}'):
        with pytest.raises(ExportError, match=r"crossrun\.preprocessing in its metadata|--pixels"):
            onnx_metadata.pixels({"crossrun.preprocessing": text})


def test_metadata_tell_the_labels() -> None:
    """Ultralytics writes Python's words for them; whatever else has such a key is let be."""
    assert onnx_metadata.labels({"names": "{0: 'person', 1: 'cat\\'s eye'}"}) == (
        "person",
        "cat's eye",
    )
    for text in ("", "{1: 'a', 3: 'b'}", "import os", "7", "{0: "):
        assert onnx_metadata.labels({"names": text}) == ()
