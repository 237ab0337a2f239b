"""Tensors of a single value: declared as Triton wants it, or not at all, over a real connection."""

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import onnx
import pytest
from google.protobuf import json_format
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_server.errors import LoadError
from crossrun_server.models import loader
from crossrun_server.models.loader import ModelSource
from crossrun_server.scheduling.batching import Tensors
from tests.support import detectors, models
from tests.support.pictures import encoded, scene
from tests.support.requests import refusal
from tests.support.running import ON_CPU, serving
from tests.support.vision import detect, labels

FP32, INT64, STRING = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.INT64,
    onnx.TensorProto.STRING,
)
# By name: the graph's shape, config.pbtxt's max_batch_size and what it says of x and y.
DECLARED: dict[str, tuple[list[str | int], int, str]] = {
    "undeclared": ([], 0, ""),
    "declared": ([], 0, "dims: [ 1 ]"),
    "ones": ([], 0, "dims: [ 1, 1 ]"),
    "reshaped": ([], 0, "dims: [ 1 ] reshape { shape: [ ] }"),
    "rows": (["batch"], 4, "dims: [ 1 ] reshape { shape: [ ] }"),
}
TOLD = {"undeclared": [], "declared": [1], "ones": [1, 1], "reshaped": [1], "rows": [-1, 1]}
VALUE = np.array([2.5], "<f4").tobytes()


def config(batch: int, said: str, kind: str = "FP32") -> str:
    tensor = f'[{{ name: "NAME" data_type: TYPE_{kind} {said} }}]'
    both = f"input {tensor}\noutput {tensor.replace('NAME', 'y')}".replace("NAME", "x")
    return f"max_batch_size: {batch}\n{both if said else ''}"


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stub]:
    root = tmp_path_factory.mktemp("scalars")
    for name, (shape, batch, said) in DECLARED.items():
        models.write(root, name, models.identity(FP32, shape), config(batch, said))
    text = config(0, "dims: [ 1 ]", "STRING")
    models.write(root, "text", models.identity(STRING, []), text)
    with (
        serving(root, root.parent / "scalars.log") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield Stub(channel)


def ask(stub: Stub, model: str, shape: list[int]) -> tuple[list[int], bytes]:
    message = pb.ModelInferRequest(model_name=model, raw_input_contents=[VALUE])
    message.inputs.add(name="x", datatype="FP32", shape=shape)
    reply = stub.ModelInfer(message)
    return list(reply.outputs[0].shape), reply.raw_output_contents[0]


@pytest.mark.parametrize("model", TOLD)
def test_a_scalar_is_told_as_it_is_declared(stub: Stub, model: str) -> None:
    """In the metadata and in the configuration; undeclared it has no dimension."""
    metadata = stub.ModelMetadata(pb.ModelMetadataRequest(name=model))
    told = stub.ModelConfig(pb.ModelConfigRequest(name=model)).config
    for tensor, entry in (
        (metadata.inputs[0], told.input[0]),
        (metadata.outputs[0], told.output[0]),
    ):
        assert list(tensor.shape) == TOLD[model]
        assert list(entry.dims) == [size for size in TOLD[model] if size > 0]


@pytest.mark.parametrize("model", [name for name in TOLD if name != "rows"])
@pytest.mark.parametrize("shape", [[], [1], [1, 1]])
def test_a_scalar_is_taken_in_either_shape(stub: Stub, model: str, shape: list[int]) -> None:
    """[] and [1] are the same single value; the answer has the shape that is told."""
    assert ask(stub, model, shape) == (TOLD[model], VALUE)


def test_one_value_for_each_row_has_a_dimension(stub: Stub) -> None:
    """As Triton completes and takes a graph's [batch]."""
    assert ask(stub, "rows", [1, 1]) == ([1, 1], VALUE)


def test_a_single_string_passes(stub: Stub) -> None:
    """Typed, with and without a dimension."""
    for shape in ([], [1]):
        message = pb.ModelInferRequest(model_name="text")
        tensor = message.inputs.add(name="x", datatype="BYTES", shape=shape)
        tensor.contents.bytes_contents.append(b"one")
        reply = stub.ModelInfer(message)
        assert list(reply.outputs[0].shape) == [1]
        assert reply.raw_output_contents[0] == b"\3\0\0\0one"


@pytest.mark.parametrize("model", ["undeclared", "declared"])
@pytest.mark.parametrize("shape", [[2], [0], [1, 2], [-1]])
def test_more_than_one_value_is_refused(stub: Stub, model: str, shape: list[int]) -> None:
    """With the shape that was given and the one that is told."""
    code, details = refusal(lambda: ask(stub, model, shape))
    assert code == StatusCode.INVALID_ARGUMENT
    assert details == f"input 'x' has shape {shape}, expected {TOLD[model]}"


@pytest.mark.parametrize(
    ("shape", "batch", "said", "told"),
    [
        ([], 0, "dims: [ 2 ]", r"declared \[2\], but the model has \[\]; a single value is dims"),
        ([], 0, "dims: [ -1 ]", r"declared \[-1\], but the model has \[\]; a single value is"),
        (["batch"], 4, "dims: [ 1 ]", r"has \[-1\]; one value for each row is dims: \[ 1 \] resh"),
    ],
)  # fmt: skip
def test_what_is_no_scalar_stops_the_load(
    shape: list[str | int], batch: int, said: str, told: str, tmp_path: Path
) -> None:
    """The error says how a single value is declared."""
    models.write(tmp_path, "x", models.identity(FP32, shape), config(batch, said))
    with pytest.raises(LoadError, match=told):
        loader.load(ModelSource(tmp_path / "x"), ON_CPU)


def test_what_is_told_can_be_given_back(stub: Stub, tmp_path: Path) -> None:
    """The completed configuration of each model loads it again, to the same shapes."""
    for name, (shape, _, _) in DECLARED.items():
        models.write(tmp_path, name, models.identity(FP32, shape))
        told = stub.ModelConfig(pb.ModelConfigRequest(name=name)).config
        source = ModelSource(tmp_path / name, json_format.MessageToJson(told))
        (model,) = loader.load(source, ON_CPU).models.values()
        assert list(model.inputs["x"].shape) == list(model.outputs["y"].shape) == TOLD[name]
        model.close()


def test_an_output_of_unknown_rank_keeps_its_shape(tmp_path: Path) -> None:
    """onnxruntime tells of it what it tells of a scalar; what comes is not cut to dims of one."""
    graph = models.identity(FP32, ["n"])
    graph.graph.node[0].CopyFrom(onnx.helper.make_node("Reshape", ["x", "shape"], ["y"]))
    shape = onnx.helper.make_tensor_value_info("shape", INT64, ["rank"])
    graph.graph.input.append(shape)
    text = 'output [{ name: "y" data_type: TYPE_FP32 dims: [ 1 ] }]'
    del graph.graph.output[0].type.tensor_type.shape.dim[:]
    models.write(tmp_path, "x", graph, text)
    graph.graph.output[0].type.tensor_type.ClearField("shape")  # which onnx.checker would refuse
    onnx.save(graph, tmp_path / "x" / "1" / "model.onnx")
    (model,) = loader.load(ModelSource(tmp_path / "x"), ON_CPU).models.values()
    for sizes, expected in (([2, 3], (2, 3)), ([6], (6,)), ([], (1,))):
        given: Tensors = {"x": np.ones(math.prod(sizes), np.float32)}
        given["shape"] = np.array(sizes, np.int64)
        reply = asyncio.run(model.infer(given))
        assert reply.outputs["y"].shape == expected
    model.close()


def finder(shape: list[int]) -> onnx.ModelProto:
    """A detector for one picture, whose callers may give a threshold; it says how much it found."""
    graph = detectors.finder(batch=1)
    (node,) = (node for node in graph.graph.node if "num_detections" in node.output)
    node.output[0] = "counts"
    size = onnx.helper.make_tensor("size_of_count", INT64, [len(shape)], shape)
    graph.graph.initializer.append(size)
    reshaped = onnx.helper.make_node("Reshape", ["counts", size.name], ["num_detections"])
    graph.graph.node.append(reshaped)
    told = onnx.helper.make_tensor_value_info("num_detections", onnx.TensorProto.INT32, shape)
    graph.graph.output[3].CopyFrom(told)
    default = onnx.helper.make_tensor(detectors.SCORE, FP32, shape, [0.3])
    (own,) = (one for one in graph.graph.initializer if one.name == detectors.SCORE)
    own.CopyFrom(default)
    del graph.graph.input[1:]
    graph.graph.input.append(onnx.helper.make_tensor_value_info(detectors.SCORE, FP32, shape))
    return graph


def test_a_detector_has_a_threshold_and_a_count_of_any_rank(tmp_path: Path) -> None:
    """One picture at a time, with an optional input and an output of a single value."""
    root = tmp_path / "models"
    for rank in range(3):
        dims = f"dims: {[1] * max(rank, 1)}"
        text = f'input [{{ name: "{detectors.SCORE}" data_type: TYPE_FP32 {dims} optional: true }}]'
        models.write(root, f"rank{rank}", finder([1] * rank), text)
    with (
        serving(root, tmp_path / "log") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        for least, expected in ((0.7, ["0", "1"]), (0.9, ["0"])):
            for rank in range(3):
                picture = encoded(scene())
                reply = detect(VisionStub(channel), picture, model=f"rank{rank}", min_score=least)
                assert labels(reply) == expected


@pytest.mark.parametrize("dims", ["", "dims: [ 1 ]"])
def test_a_scalar_is_warmed_up(dims: str, tmp_path: Path) -> None:
    """A sample may give it a dimension or none."""
    sample = f'inputs {{ key: "x" value {{ data_type: TYPE_FP32 {dims} zero_data: true }} }}'
    text = f'{config(0, "dims: [ 1 ]")}\nmodel_warmup [{{ name: "one" {sample} }}]'
    models.write(tmp_path, "x", models.identity(FP32, []), text)
    (model,) = loader.load(ModelSource(tmp_path / "x"), ON_CPU).models.values()
    model.close()
