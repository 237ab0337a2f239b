"""Every datatype, raw and typed, at the edges of what it holds: an identity gives it back."""

import pytest
from grpc import StatusCode

from tests.conformance.datatypes import EDGES, TYPED
from tests.conformance.messages import Tensor, identity, request, tensor
from tests.conformance.target import Target

CASES = [(datatype, edge) for datatype, edges in EDGES.items() for edge in edges]
TYPED_CASES = [(datatype, edge) for datatype, edge in CASES if datatype in TYPED]
ROWS = 4


def check(target: Target, sent: Tensor, typed: bool) -> None:
    """Send a tensor through the identity of its datatype; the very same has to come back."""
    model = f"oip_identity_{sent.datatype.lower()}"
    outputs = target.outputs(request(model, [sent], typed=typed))
    assert list(outputs) == ["y"]
    outputs["y"].check(sent.datatype, sent.values)


@pytest.mark.parametrize(("datatype", "edge"), CASES)
def test_a_raw_value(target: Target, datatype: str, edge: str) -> None:
    """The value comes back bit for bit."""
    check(target, tensor("x", datatype, [EDGES[datatype][edge]]), typed=False)


@pytest.mark.parametrize(("datatype", "edge"), TYPED_CASES)
def test_a_typed_value(target: Target, datatype: str, edge: str) -> None:
    """The value in its typed field means the same as its raw bytes."""
    check(target, tensor("x", datatype, [EDGES[datatype][edge]]), typed=True)


@pytest.mark.parametrize("datatype", EDGES)
def test_raw_values_in_rows(target: Target, datatype: str) -> None:
    """Several values in several rows keep their order."""
    check(target, _in_rows(datatype), typed=False)


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_values_in_rows(target: Target, datatype: str) -> None:
    """Several typed values in several rows keep their order."""
    check(target, _in_rows(datatype), typed=True)


@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_bytes_that_are_no_text(target: Target, typed: bool) -> None:
    """BYTES outside UTF-8 come back as they are or are refused by name, but are never changed."""
    sent = tensor("x", "BYTES", [b"\xff\xfe", b"\x80 text \xc3"])
    message = request("oip_identity_bytes", [sent], typed=typed)
    target.need(message.model_name)
    if target.attempt("ModelInfer", message) is StatusCode.INVALID_ARGUMENT:
        target.check_refused(message, ("x",))
    else:
        check(target, sent, typed)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_no_typed_form(target: Target, datatype: str) -> None:
    """A datatype without a typed form is refused when it comes as FP32's, and named."""
    message = identity(datatype, [0], typed=False)
    del message.raw_input_contents[:]
    message.inputs[0].contents.fp32_contents.append(0.0)
    target.check_refused(message, ("x",))


def _in_rows(datatype: str) -> Tensor:
    values = list(EDGES[datatype].values())
    rows = [value for row in range(ROWS) for value in (*values[row:], *values[:row])]
    return tensor("x", datatype, rows, (ROWS, len(values)))
