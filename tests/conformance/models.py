"""The models of the conformance suite: `python -m tests.conformance.models DIR` writes them.

Triton's repository layout with a complete config.pbtxt each, and beside them a config.json
that names the same models to OpenVINO Model Server.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as Tp
from onnx import helper

from tests.support import models

MAX_BATCH_SIZE = 8
LABELS = ["ant", "bee", "cat", "dog"]
ALL_VERSIONS = "version_policy { all {} }"
PRIORITIES = """dynamic_batching {
  priority_levels: 2
  default_priority_level: 2
  default_queue_policy { allow_timeout_override: true }
}"""


def write_all(root: Path) -> Path:
    """Write every model of the suite into a repository."""
    for datatype, element_type in models.ELEMENT_TYPES.items():
        _write(root, f"identity_{datatype.lower()}", models.identity(element_type, ["batch", "n"]))
    for rank in range(6):
        shape: list[str | int] = [f"d{axis}" for axis in range(rank)]
        _write(root, f"rank{rank}", models.identity(Tp.FLOAT, shape), batched=False)
    _write(root, "simple", models.sum_and_difference(), "dynamic_batching {}")
    _write(root, "mixed", mixed())
    _write(root, "classify", models.identity(Tp.FLOAT, ["batch", len(LABELS)]), labels=LABELS)
    _write(root, "priority", models.identity(Tp.FLOAT, ["batch", "n"]), PRIORITIES)
    _write(root, "loadable", loadable())
    _write(root, "slow", models.slow(), batched=False)
    for version in (1, 3):
        _write(root, "versions", plus(version), ALL_VERSIONS, version=version)
    (root / "config.json").write_text(_openvino(root))
    return root


def mixed() -> onnx.ModelProto:
    """`a` FP32, `b` INT64 and `c` BYTES [batch, n] → `c_out`, `b_out`, `a_out`, unchanged."""
    types = {"a": Tp.FLOAT, "b": Tp.INT64, "c": Tp.STRING}
    info = helper.make_tensor_value_info
    return graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in types],
        [info(name, kind, ["batch", f"n_{name}"]) for name, kind in types.items()],
        [info(f"{name}_out", types[name], ["batch", f"n_{name}"]) for name in ("c", "b", "a")],
    )


def plus(amount: int) -> onnx.ModelProto:
    """`x` FP32 [batch, 1] → `y`, larger by `amount`."""
    return graph(
        [helper.make_node("Add", ["x", "amount"], ["y"])],
        [helper.make_tensor_value_info("x", Tp.FLOAT, ["batch", 1])],
        [helper.make_tensor_value_info("y", Tp.FLOAT, ["batch", 1])],
        [helper.make_tensor("amount", Tp.FLOAT, [1], np.array([amount], np.float32))],
    )


def loadable() -> onnx.ModelProto:
    """`oip_loadable`, version 1 as it lies on disk: adds ten."""
    return plus(10)


def config(
    name: str, model: onnx.ModelProto, extra: str = "", batched: bool = True, labels: bool = False
) -> str:
    """Describe a model in full, as config.pbtxt."""
    label = ' label_filename: "labels.txt"' if labels else ""
    lines = [
        f'name: "{name}"',
        'backend: "onnxruntime"',
        'default_model_filename: "model.onnx"',
        f"max_batch_size: {MAX_BATCH_SIZE if batched else 0}",
        *[f"input [{{ {_entry(value, batched)} }}]" for value in model.graph.input],
        *[f"output [{{ {_entry(value, batched)}{label} }}]" for value in model.graph.output],
        extra,
    ]
    return "\n".join(lines).rstrip() + "\n"


def _entry(value: onnx.ValueInfoProto, batched: bool) -> str:
    kind = value.type.tensor_type
    datatypes = {int(number): name for name, number in models.ELEMENT_TYPES.items()}
    datatype = datatypes[kind.elem_type]
    dims = [dim.dim_value or -1 for dim in kind.shape.dim][1 if batched else 0 :]
    typed = "STRING" if datatype == "BYTES" else datatype
    return f'name: "{value.name}" data_type: TYPE_{typed} dims: {dims}'


def _write(  # noqa: PLR0913 - a model has that many parts
    root: Path,
    name: str,
    model: onnx.ModelProto,
    extra: str = "",
    *,
    batched: bool = True,
    labels: list[str] | None = None,
    version: int = 1,
) -> None:
    text = config(f"oip_{name}", model, extra, batched, labels is not None)
    models.write(root, f"oip_{name}", model, text, labels, version)


def _openvino(root: Path) -> str:
    folders = sorted(folder.name for folder in root.iterdir() if folder.is_dir())
    entries = [
        {"config": {"name": name, "base_path": name, "model_version_policy": {"all": {}}}}
        for name in folders
    ]
    return json.dumps({"model_config_list": entries}, indent=2) + "\n"


def graph(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    initializers: list[onnx.TensorProto] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "conformance", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=models.OPSETS, ir_version=8)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the models go; made if missing")
    write_all(parser.parse_args().folder)
