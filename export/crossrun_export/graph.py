"""An ONNX graph to look things up in and to change: constants, makers and takers of tensors."""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Array = NDArray[Any]

WEIGHTED = ("Conv", "Gemm")  # input 1 holds weights, input 2, where there is one, the bias


class Graph:
    """An index of a model's graph, valid until nodes come or go; `set` changes a constant."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._proto = model.graph
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.makers: Mapping[str, onnx.NodeProto] = {
            name: node for node in model.graph.node for name in node.output
        }
        self.takers: Mapping[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in model.graph.node:
            for name in node.input:
                self.takers[name].append(node)

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        """All nodes, in an order in which they can run."""
        return list(self._proto.node)

    @property
    def weighted(self) -> list[onnx.NodeProto]:
        """The nodes with constant weights, in that order."""
        return [n for n in self.nodes if n.op_type in WEIGHTED and n.input[1] in self]

    def __contains__(self, name: str) -> bool:
        return name in self._constants

    def __getitem__(self, name: str) -> Array:
        return numpy_helper.to_array(self._constants[name])

    def set(self, name: str, value: Array) -> None:
        """Give a constant another value, or make one."""
        if name not in self._constants:
            self._constants[name] = self._proto.initializer.add()
        self._constants[name].CopyFrom(numpy_helper.from_array(value, name))

    def before(self, nodes: Iterable[onnx.NodeProto]) -> frozenset[str]:
        """The names of all nodes on whose answers any of `nodes` depends."""
        found = self.behind(name for node in nodes for name in node.input)
        return frozenset(self.makers[name].name for name in found if name in self.makers)

    def behind(self, wanted: Iterable[str], known: Container[str] = ()) -> frozenset[str]:
        """Some tensors and all on which they depend, as far back as the known ones."""
        found, ahead = set[str](), [*wanted]
        while ahead:
            name = ahead.pop()
            if name not in found:
                found.add(name)
                if name in self.makers and name not in known:
                    ahead.extend(self.makers[name].input)
        return frozenset(found)

    def only_taker(self, name: str) -> onnx.NodeProto | None:
        """The one node that takes a tensor; None where several do, or none."""
        takers = self.takers[name]
        return takers[0] if len(takers) == 1 else None


def opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators in a model."""
    return next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """A whole number among a node's attributes."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def channel_axis(node: onnx.NodeProto) -> int:
    """Which axis of a weighted node's weights is that of its output channels."""
    return 1 if node.op_type == "Gemm" and not attribute(node, "transB", 0) else 0


def rewire(nodes: Iterable[onnx.NodeProto], old: str, new: str) -> None:
    """Let every node that takes the tensor `old` take `new`."""
    for node in nodes:
        node.input[:] = [new if name == old else name for name in node.input]


def part(
    model: onnx.ModelProto, wanted: Sequence[str], known: Iterable[onnx.ValueInfoProto] = ()
) -> onnx.ModelProto:
    """The part of a model that computes some tensors, from known ones where it can."""
    given = {value.name: value for value in (*model.graph.input, *known)}
    needed = Graph(model).behind(wanted, given)
    graph = onnx.helper.make_graph(
        [node for node in model.graph.node if not needed.difference(given).isdisjoint(node.output)],
        model.graph.name,
        [value for name, value in given.items() if name in needed],
        [onnx.ValueInfoProto(name=name) for name in wanted],
        [tensor for tensor in model.graph.initializer if tensor.name in needed],
    )
    return onnx.helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version
    )


def prune(model: onnx.ModelProto) -> None:
    """Remove nodes and constants that no output depends on, and shapes that no longer hold."""
    wanted = {value.name for value in model.graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(model.graph.node):
        if not wanted.isdisjoint(node.output):
            wanted.update(node.input)
            kept.append(node)
    constants = [tensor for tensor in model.graph.initializer if tensor.name in wanted]
    del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
    model.graph.node.extend(reversed(kept))
    model.graph.initializer.extend(constants)
