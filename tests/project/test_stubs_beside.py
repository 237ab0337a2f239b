"""Our stubs beside others that describe the same packages, in one process, in either order."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.running import ROOT, Server

PROTO = ROOT / "proto/crossrun"
OIP = "crossrun.oip.grpc_service_pb2"
# What protoc makes of these files when others keep them under names of their own, as MLServer's
# dataplane.proto, TensorFlow Serving's API, and a client that generates from our vision.proto.
COPIES = {
    "model_config.proto": "oip/model_config.proto",
    "dataplane.proto": "oip/grpc_service.proto",
    "tensorflow.proto": "tfserving/tensorflow.proto",
    "predict.proto": "tfserving/prediction_service.proto",
    "vision.proto": "v1/vision.proto",
}


class Pair(NamedTuple):
    """Two stubs of one package, and a message of it as text."""

    ours: str
    theirs: str
    name: str
    text: str


INFER = ("ModelInferRequest", "model_name: 'm' parameters { key: 'k' value { int64_param: 3 } }")
PAIRS = {
    "tritonclient": Pair(OIP, "tritonclient.grpc.service_pb2", *INFER),
    "dataplane": Pair(OIP, "dataplane_pb2", *INFER),
    "tensorflow_serving": Pair(
        "crossrun.tfserving.prediction_service_pb2",
        "predict_pb2",
        "PredictRequest",
        "model_spec { name: 'm' } inputs { key: 'x' value { dtype: 1 } }",
    ),
    "vision": Pair(
        "crossrun.v1.vision_pb2",
        "vision_pb2",
        "ClassifyRequest",
        "model: 'm' images: 'p' top_k: 3 resize: RESIZE_CROP",
    ),
}
# Imports modules in the order given, and sends a message of ours through theirs and through pickle.
EXCHANGE = """
import importlib, pickle, sys
from google.protobuf import json_format, text_format

ours, theirs, name, text, *order = sys.argv[1:]
loaded = {module: importlib.import_module(module) for module in order}
our, their = getattr(loaded[ours], name), getattr(loaded[theirs], name)
message = text_format.Parse(text, our())
again = our.FromString(their.FromString(message.SerializeToString()).SerializeToString())
assert message.ByteSize() and message == again == pickle.loads(pickle.dumps(message))
assert json_format.Parse(json_format.MessageToJson(message), our()) == message
"""


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of modules that protoc made of COPIES."""
    folder = tmp_path_factory.mktemp("copies")
    for copy, source in COPIES.items():
        text = re.sub("crossrun/(oip|tfserving)/", "", (PROTO / source).read_text())
        (folder / copy).parent.mkdir(parents=True, exist_ok=True)
        (folder / copy).write_text(text)
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"--python_out={folder}"]
    subprocess.run([*protoc, *COPIES], check=True)
    return folder


@pytest.mark.parametrize("implementation", ["upb", "python"])
@pytest.mark.parametrize("ours_first", [True, False], ids=["ours first", "theirs first"])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_stubs_of_the_same_package_share_a_process(
    pair: Pair, ours_first: bool, implementation: str, copies: Path
) -> None:
    """Whichever comes first, both load, and each reads what the other wrote."""
    chosen = {"PYTHONPATH": str(copies), "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation}
    order = [pair.ours, pair.theirs] if ours_first else [pair.theirs, pair.ours]
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXCHANGE, *pair, *order],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | chosen,
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("modules", [("tritonclient.grpc", OIP), (OIP, "tritonclient.grpc")])
def test_one_process_asks_by_both_clients(modules: tuple[str, str], server: Server) -> None:
    """Tritonclient and our stubs get the same answers from a server, in one process."""
    command = [sys.executable, "-m", "tests.support.stock_beside", server.address, *modules]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (ended.returncode, ended.stdout) == (0, "all calls answered\n"), ended.stderr
