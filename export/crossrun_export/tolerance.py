"""How far the exported model may be from the original: what was asked for, or what suits it."""

from dataclasses import dataclass

import numpy as np

from crossrun_export.heads import Head
from crossrun_export.options import Computes, HeadKind, Tolerance
from crossrun_export.runtime import Scores

FLOAT32, FLOAT16 = 1e-4, 5e-3  # of a probability
# Likewise. LiteRT's own kernels, with XNNPACK, without, and its reference, differ by up to 0.07
# on MobileNet 1.0/224 in int8 and 50 photographs, and onnxruntime from XNNPACK by up to 0.043.
INT8 = 0.1
TIE = 1e-6  # scores closer than this have no order that a change of runtime could break


@dataclass(frozen=True)
class Allowed:
    """What is allowed, and why that much."""

    max_diff: float  # of any one score
    min_agreement: float
    tie: float = TIE  # the least difference of scores that gives them an order
    because: str = ""
    kind: HeadKind = "softmax"  # of the head, which says what an agreement is
    half: float = FLOAT16  # of any one score, of the same model in half precision


def suiting(asked: Tolerance, head: Head, expected: Scores, computes: Computes) -> Allowed:
    """Choose a tolerance for an original.

    In half precision two runtimes differ by more, and logits by more the larger they are.

    Args:
        asked: what was asked for; a `max_diff` of None is chosen here.
        head: what the scores are.
        expected: the original's, [count, classes].
        computes: the coarsest that it computes or answers in.
    """
    least = {"float32": FLOAT32, "float16": FLOAT16, "int8": INT8}[computes]
    tie = TIE if computes == "float32" else least
    reasons = [f"it computes in {computes}"] if computes != "float32" else []
    largest = float(np.abs(expected).max()) if head.kind.endswith("logits") else 1.0
    if largest > 1:
        reasons.append(f"its largest logit is {largest:.3g}")
    scale = max(largest, 1.0)
    because = ", ".join(reasons) if asked.max_diff is None else "as asked"
    max_diff = least * scale if asked.max_diff is None else asked.max_diff
    half = FLOAT16 * scale
    return Allowed(max_diff, asked.min_agreement, tie * scale, because, head.kind, half)
