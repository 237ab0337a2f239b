"""config.pbtxt says where a model runs: providers, their options, instances, threads."""

import pytest
from google.protobuf import text_format

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import LoadError
from crossrun_server.model_config import session_config
from crossrun_server.runtime import providers
from tests.support.configs import parameter

ACCELERATORS = "optimization { execution_accelerators { %s { name: '%s' %s } } }"
OPTION = "parameters { key: 'device_type' value: 'GPU' }"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["openvino"]),
        ("instance_group { kind: KIND_CPU }", ["cpu"]),
        ("instance_group { kind: KIND_GPU }", ["cuda"]),
        ("instance_group { count: 2 }", ["openvino", "openvino"]),
        ("instance_group { kind: KIND_GPU gpus: [0, 1] }", ["cuda", "cuda"]),
        (parameter("providers", "cuda,cpu"), ["cuda,cpu"]),
        (parameter("providers", "auto"), ["auto"]),
        (parameter("providers", "fastest"), ["fastest"]),
        (parameter("providers", "fastest: cpu, OpenVINO"), ["fastest:cpu,openvino"]),
        (
            parameter("providers", "fastest:cuda,cpu") + "instance_group { gpus: [0, 1] }",
            ["fastest:cuda,cpu", "fastest:cuda,cpu"],
        ),
        (ACCELERATORS % ("cpu_execution_accelerator", "fastest", ""), ["fastest"]),
        (ACCELERATORS % ("cpu_execution_accelerator", "openvino", ""), ["openvino"]),
        (
            "instance_group { kind: KIND_GPU }"
            + ACCELERATORS % ("gpu_execution_accelerator", "tensorrt", ""),
            ["tensorrt,cuda"],
        ),
        (ACCELERATORS % ("gpu_execution_accelerator", "tensorrt", ""), ["tensorrt"]),
    ],
)
def test_config_pbtxt_places_a_model(text: str, expected: list[str]) -> None:
    """By parameters, by Triton's accelerators, by the kind; else the server's choice holds."""
    assert [str(request) for request in place(text).requests] == expected


def test_config_pbtxt_passes_options_on() -> None:
    """Options reach their provider from parameters, from accelerators and from gpus."""
    options = [
        place(text).requests[-1].providers[0].options
        for text in (
            parameter("providers", "openvino") + parameter("openvino.device_type", "GPU"),
            ACCELERATORS % ("cpu_execution_accelerator", "openvino", OPTION),
            "instance_group { kind: KIND_GPU gpus: [0, 3] }",
        )
    ]
    assert options == [{"device_type": "GPU"}, {"device_type": "GPU"}, {"device_id": "3"}]
    threads = place(parameter("intra_op_thread_count", "3")).threads
    assert (threads.intra_op, threads.inter_op) == (3, 0)


def test_one_of_the_fastest_keeps_its_options_and_its_card() -> None:
    """Where measuring has decided, the sessions are asked for that provider alone."""
    text = parameter("providers", "fastest:cpu,cuda") + parameter("cuda.use_tf32", "1")
    placed = place(text + "instance_group { gpus: [0, 3] }")
    assert placed.to_measure
    chosen = placed.on("CUDAExecutionProvider")
    assert not chosen.to_measure
    assert [str(request) for request in chosen.requests] == ["cuda", "cuda"]
    options = [dict(request.providers[0].options) for request in chosen.requests]
    assert options == [{"use_tf32": "1", "device_id": card} for card in ("0", "3")]


GRAPHS = "optimization { cuda { graphs: true } }"


def test_cuda_graphs_are_asked_of_providers_that_have_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Triton's field becomes the provider's option, which wins where it is given."""
    (request,) = place(parameter("providers", "tensorrt,cuda,cpu") + GRAPHS).requests
    assert [dict(one.options) for one in request.providers] == [
        {"trt_cuda_graph_enable": "1"}, {"enable_cuda_graph": "1"}, {},
    ]  # fmt: skip
    assert [one.captures for one in request.providers] == [True, True, False]
    off = parameter("cuda.enable_cuda_graph", "0")
    (request,) = place(parameter("providers", "cuda") + off + GRAPHS).requests
    assert not request.providers[0].captures
    assert not caplog.text
    place(parameter("providers", "cpu") + GRAPHS)
    assert "optimization.cuda.graphs has no effect on cpu" in caplog.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (parameter("providers", "abacus"), "there is no execution provider 'abacus'"),
        (parameter("providers", "fastest:cpu,abacus"), "there is no execution provider 'abacus'"),
        (parameter("providers", "fastest:cpu,cpu"), "'cpu,cpu' names an execution provider twice"),
        (parameter("providers", "fastest,cpu"), "there is no execution provider 'fastest'"),
        (parameter("providers", "fastest:"), "there is no execution provider ''"),
        (
            parameter("providers", "fastest:cpu") + parameter("cuda.device_id", "1"),
            "there are options for CUDAExecutionProvider, but the providers asked for are cpu",
        ),
        (
            parameter("providers", "cpu") + "instance_group { kind: KIND_GPU }",
            "instance_group has KIND_GPU, but parameters 'providers' says cpu",
        ),
        (
            parameter("providers", "cuda") + "instance_group { kind: KIND_CPU }",
            "instance_group has KIND_CPU, but parameters 'providers' says cuda",
        ),
        (
            parameter("providers", "cpu")
            + ACCELERATORS % ("cpu_execution_accelerator", "openvino", ""),
            "both name execution providers; expected one of them",
        ),
        ("instance_group { gpus: [0] }", "instance_group.gpus is for graphics cards"),
        ("instance_group { count: -1 }", "instance_group.count is -1, expected 1 or more"),
        (parameter("intra_op_thread_count", "two"), "'two', expected a whole number"),
    ],
)
def test_contradictions_in_config_pbtxt_are_refused(text: str, expected: str) -> None:
    """Two fields that say different things are an error that names both."""
    with pytest.raises(LoadError, match=expected):
        place(text)


def place(text: str) -> session_config.SessionConfig:
    proto = text_format.Parse(text, pb.ModelConfig())
    return session_config.read(proto, providers.parse("openvino"))
