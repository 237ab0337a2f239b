"""Requests built by hand and responses read by hand. Knows no connection."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import pytest

from crossrun.oip import grpc_service_pb2 as pb
from tests.conformance.datatypes import NUMPY, TYPED, Array, array, decode, encode


@dataclass(frozen=True)
class Tensor:
    """A tensor on its way; BYTES as an object array of bytes, BF16 as uint16."""

    name: str
    datatype: str
    values: Array

    @property
    def raw(self) -> bytes:
        """The tensor in raw form."""
        return encode(self.datatype, self.values)

    def check(self, datatype: str, values: Array) -> None:
        """Fail the test unless this is the very tensor: datatype, shape, and every bit."""
        assert (self.datatype, self.values.shape) == (datatype, values.shape), self.name
        raw, expected = self.raw, encode(datatype, values)
        if raw != expected:
            self._tell_difference(values)

    def _tell_difference(self, values: Array) -> NoReturn:
        """Name the first element that differs, rather than print two long tensors."""
        pairs = zip(self.values.ravel(), values.ravel(), strict=True)
        for position, (found, wanted) in enumerate(pairs):
            if found is not wanted and repr(found) != repr(wanted):
                pytest.fail(f"{self.name}[{position}] is {found!r:.80}, expected {wanted!r:.80}")
        pytest.fail(f"{self.name} differs in bits that do not show")


def tensor(
    name: str, datatype: str, values: Sequence[object], shape: Sequence[int] | None = None
) -> Tensor:
    """Build a tensor, by default one row: [1, n]."""
    return Tensor(
        name, datatype, array(datatype, values, (1, len(values)) if shape is None else shape)
    )


def request(  # noqa: PLR0913 - a request has that many parts
    model: str,
    tensors: Iterable[Tensor],
    *,
    version: str = "",
    identifier: str = "",
    outputs: Iterable[str] = (),
    typed: bool = False,
) -> pb.ModelInferRequest:
    """Build a ModelInferRequest, raw or typed."""
    message = pb.ModelInferRequest(model_name=model, model_version=version, id=identifier)
    for item in tensors:
        added = message.inputs.add(name=item.name, datatype=item.datatype, shape=item.values.shape)
        if typed:
            getattr(added.contents, TYPED[item.datatype]).extend(item.values.ravel().tolist())
        else:
            message.raw_input_contents.append(item.raw)
    for name in outputs:
        message.outputs.add(name=name)
    return message


def identity(
    datatype: str, values: Sequence[object], shape: Sequence[int] | None = None, typed: bool = False
) -> pb.ModelInferRequest:
    """Build a request to the identity model of a datatype."""
    sent = tensor("x", datatype, values, shape)
    return request(f"oip_identity_{datatype.lower()}", [sent], typed=typed)


def simple(
    *rows: int, outputs: Iterable[str] = (), identifier: str = "", typed: bool = False
) -> pb.ModelInferRequest:
    """Build a request to `oip_simple` in which INPUT0 holds the given rows and INPUT1 ones."""
    values = np.repeat(np.array(rows, np.int32), 16).reshape(len(rows), 16)
    tensors = [Tensor("INPUT0", "INT32", values), Tensor("INPUT1", "INT32", np.ones_like(values))]
    return request("oip_simple", tensors, outputs=outputs, identifier=identifier, typed=typed)


def read(response: pb.ModelInferResponse) -> dict[str, Tensor]:
    """Read the outputs of a response, raw or typed, in their order.

    What the protocol demands of every response fails the test here: as many raw entries as
    outputs or none, never raw and typed together, as many bytes as shape and datatype need.
    """
    raw = response.raw_output_contents
    names = [output.name for output in response.outputs]
    assert len(set(names)) == len(names), f"an output came twice: {names}"
    assert len(raw) in (0, len(names)), f"{len(raw)} raw entries for {len(names)} outputs"
    tensors = {}
    for position, output in enumerate(response.outputs):
        assert output.datatype in NUMPY, f"{output.name} has the datatype {output.datatype!r}"
        if raw:
            assert not output.contents.ListFields(), f"{output.name} came both raw and typed"
            values = decode(output.datatype, raw[position], output.shape)
        else:
            values = _typed(output)
        tensors[output.name] = Tensor(output.name, output.datatype, values)
    return tensors


def _typed(output: pb.ModelInferResponse.InferOutputTensor) -> Array:
    field = TYPED.get(output.datatype)
    assert field, f"{output.name} is {output.datatype}, which has no typed form"
    return array(output.datatype, list(getattr(output.contents, field)), output.shape)
