"""What a model's file calls the first sizes of its tensors, and whether all are the same size."""

import re
from collections.abc import Sequence

from crossrun_server.tensors.tensor_spec import TensorSpec

# Names that exporters make up for sizes.
MADE_UP = re.compile(
    r"|\?|-1|none|unk(nown)?_*\d*"  # tf2onnx and others
    r"|s\d+|.*_dim_\d+|.*_dynamic_axes_\d+"  # PyTorch
    r"|.*__d\d+|.*dynamicdimension\.\d+",  # onnxruntime, Paddle
    re.IGNORECASE,
)


def disagreement(specs: Sequence[TensorSpec]) -> str:
    """Say which two tensors have first sizes with different names; empty if all agree.

    Names that exporters make up are ignored.
    """
    named = [(spec, meaning) for spec in specs if (meaning := _meaning(spec.symbol))]
    for spec, meaning in named[1:]:
        first, expected = named[0]
        if meaning != expected:
            return (
                f"the first dimension of {spec.name!r} is {spec.symbol!r} and that of "
                f"{first.name!r} {first.symbol!r}"
            )
    return ""


def _meaning(symbol: str) -> str:
    """Return a size's name in one spelling; empty if the name is made up."""
    if MADE_UP.fullmatch(symbol):
        return ""
    return re.sub(r"[_ ]?size$", "", symbol.casefold())
