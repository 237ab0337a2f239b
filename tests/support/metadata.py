"""What our export wrote into a model file."""

import json
from pathlib import Path
from typing import Any

import onnx


def metadata(file: Path) -> dict[str, Any]:
    model = onnx.load(file)
    return {p.key.removeprefix("crossrun."): json.loads(p.value) for p in model.metadata_props}
