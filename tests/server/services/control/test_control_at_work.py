"""Model control while requests and loads are at work: nobody is cut off, nobody waits."""

from pathlib import Path
from typing import Any

from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support import models
from tests.support.control import (
    index,
    load,
    max_batch_size,
    multiply,
    product,
    two_versions,
    unload,
    until,
)
from tests.support.requests import AGES, outcome, slow, until_running


def test_an_unloaded_model_finishes_what_it_has(stub: Stub, root: Path) -> None:
    """The unload answers at once, new requests are refused, the one at work is answered."""
    models.write(root, "leaving", models.slow(), models.ONE_AT_A_TIME)
    load(stub, "leaving").result()
    accepted = until_running(stub, slow(model="leaving"))
    unload(stub, "leaving").result()
    assert index(stub, "leaving") == {"1": ("UNLOADING", "")}
    assert stub.ModelInfer.future(slow(1, "leaving")).code() == StatusCode.UNAVAILABLE
    assert not accepted.done()
    assert len(accepted.result().raw_output_contents) == 1
    until(stub, "leaving", "1", "UNAVAILABLE", "unloaded")


def test_a_batch_at_work_is_never_cut_off(stub: Stub, root: Path) -> None:
    """The session is released only after its run has ended; a caller who leaves ends that."""
    models.write(root, "left", models.slow(), models.ONE_AT_A_TIME)
    load(stub, "left").result()
    running = until_running(stub, slow(model="left"))
    unload(stub, "left").result()
    assert index(stub, "left") == {"1": ("UNLOADING", "")}
    running.cancel()
    until(stub, "left", "1", "UNAVAILABLE", "unloaded")


def test_a_replaced_model_finishes_what_it_has(stub: Stub, root: Path) -> None:
    """While the old version is at work, the new one answers, and the index calls it READY."""
    models.write(root, "replaced", models.slow(), models.ONE_AT_A_TIME)
    load(stub, "replaced").result()
    accepted = until_running(stub, slow(model="replaced"))
    load(stub, "replaced").result()
    assert stub.ModelInfer.future(slow(1, "replaced")).code() == StatusCode.OK
    assert not accepted.done()
    assert len(accepted.result().raw_output_contents) == 1
    assert index(stub, "replaced") == {"1": ("READY", "")}


def load_slowly(stub: Stub, root: Path, name: str) -> Any:
    """Load a slow model whose warm-up takes seconds, and come back once that is at work."""
    models.write(root, name, models.slow(), models.ONE_AT_A_TIME)
    (root / name / "warmup").mkdir()
    (root / name / "warmup" / "turns").write_bytes(AGES.to_bytes(8, "little"))
    sample = {"turns": {"data_type": "TYPE_INT64", "dims": [1], "input_data_file": "turns"}}
    loading = load(stub, name, {"model_warmup": [{"name": "turns", "inputs": sample}]})
    until(stub, name, "1", "LOADING")
    return loading


def test_a_load_keeps_nobody_waiting(stub: Stub, root: Path) -> None:
    """While a model warms up the index says LOADING and others answer; it needs no caller."""
    loading = load_slowly(stub, root, "long")
    assert product(multiply(stub, "kept")) == 6
    code, details = outcome(stub.ModelInfer.future(slow(1, "long")))
    assert (code, details.rpartition(" ")[2]) == (StatusCode.UNAVAILABLE, "LOADING")
    assert not loading.done()
    loading.cancel()
    until(stub, "long", "1", "READY")


def test_loads_of_one_model_take_turns(stub: Stub, root: Path) -> None:
    """A load that is sent while another is at work comes after it and holds."""
    first = load_slowly(stub, root, "turns")
    second = load(stub, "turns", {"max_batch_size": 0})
    second.result()
    assert first.done()
    assert first.code() == StatusCode.OK
    config = stub.ModelConfig(pb.ModelConfigRequest(name="turns")).config
    assert not config.model_warmup


def test_loads_sent_together_all_succeed(stub: Stub, root: Path) -> None:
    """Whatever their order, each is answered and one whole model is left."""
    two_versions(root, "busy")
    calls = [load(stub, "busy", {"max_batch_size": size}) for size in range(1, 9)]
    for call in calls:
        call.result()
    assert max_batch_size(stub, "busy") in range(1, 9)
    assert product(multiply(stub, "busy")) == 6
    assert index(stub, "busy") == {"2": ("READY", "")}
