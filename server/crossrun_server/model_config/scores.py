"""What config.pbtxt and the model's file say of a classifier's scores. Knows no arrays."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import LoadError
from crossrun_server.tensors.tensor_spec import TensorSpec

SCORES, OUTPUT = "scores", "scores.output"  # keys of `parameters`
METADATA = "crossrun.scores"
DATATYPES = ("FP16", "FP32", "FP64")
HEADS = ("softmax", "sigmoid", "binary", "logits", "sigmoid-logits", "binary-logits")
BINARY = ("binary", "binary-logits")  # one score, that of the second of two classes
RESHAPED = (
    "reshape in config.pbtxt gives this shape to an output of another, such as "
    "dims: [ 10 ] reshape { shape: [ 1, 1, 10 ] }"
)


@dataclass(frozen=True)
class ScoresConfig:
    """What config.pbtxt, the file, or both say of the scores."""

    head: str | None = None  # one of HEADS; None if nothing says it
    output: str | None = None  # the output that holds them; None if nothing says it
    doubts: Mapping[str, str] = field(default_factory=dict)  # output → why it is no `softmax`


UNTOLD = ScoresConfig()


def understands(key: str) -> bool:
    """Whether a key of `parameters` says what scores are."""
    return key in (SCORES, OUTPUT)


def read(proto: pb.ModelConfig, outputs: Sequence[TensorSpec]) -> ScoresConfig:
    """Read what config.pbtxt says of the scores.

    Raises:
        LoadError: it does not fit a model with these outputs.
    """
    given = {key: proto.parameters[key].string_value for key in (SCORES, OUTPUT)
             if key in proto.parameters}  # fmt: skip
    head, output = given.get(SCORES), given.get(OUTPUT)
    if head is not None and head not in HEADS:
        raise LoadError(f"parameters {SCORES!r} is {head!r}, expected one of {', '.join(HEADS)}")
    candidates = {spec.name: spec for spec in outputs if may_be_scores(spec)}
    if output is not None and output not in candidates:
        raise LoadError(
            f"parameters {OUTPUT!r} is {output!r}, expected an output of {', '.join(DATATYPES)} "
            f"[batch, classes]; the model has {', '.join(candidates) or 'none'}"
        )
    return ScoresConfig(head, output)


def settle(declared: ScoresConfig, metadata: Mapping[str, str]) -> ScoresConfig:
    """Combine what config.pbtxt says with what the file says.

    Raises:
        LoadError: they contradict each other, or the file names a head that this server does not
            know.
    """
    own = _of_file(metadata)
    if own.head is None or (declared.output or own.output) != own.output:
        return ScoresConfig(declared.head, declared.output or own.output)
    if declared.head not in (None, own.head):
        raise LoadError(
            f"parameters {SCORES!r} is {declared.head!r}, but the file's metadata {METADATA} says "
            f"{own.head!r}; leave the parameter out"
        )
    return own


def check(
    scores: ScoresConfig, outputs: Sequence[TensorSpec], labels: Mapping[str, Sequence[str]]
) -> None:
    """Check what is said of the scores against the output that holds them.

    Raises:
        LoadError: there is no such output, or its number of scores does not suit the head or its
            labels.
    """
    found = [s for s in outputs if may_be_scores(s) and scores.output in (None, s.name)]
    if scores.head and not found:
        name = f"{scores.output!r} " if scores.output else ""
        raise LoadError(
            f"the scores are said to be {scores.head!r}, but the model has no output "
            f"{name}of {', '.join(DATATYPES)} [batch, classes]; {RESHAPED}"
        )
    if scores.head is None or len(found) > 1:
        return
    (spec,) = found
    width, names = spec.shape[1], labels.get(spec.name, ())
    if width > 0 and (width == 1) != (scores.head in BINARY):
        raise LoadError(f"output {spec.name!r} has {width} scores, which are not {scores.head!r}")
    if scores.head in BINARY and names and len(names) != 2:
        raise LoadError(
            f"output {spec.name!r} is one score, {scores.head!r}, for two classes; "
            f"expected 2 labels, got {len(names)}"
        )


def may_be_scores(spec: TensorSpec) -> bool:
    """Whether an output may be scores of classes: floats [batch, classes]."""
    return spec.datatype in DATATYPES and len(spec.shape) == 2


def _of_file(metadata: Mapping[str, str]) -> ScoresConfig:
    if METADATA not in metadata:
        return ScoresConfig()
    try:
        said: dict[str, Any] = json.loads(metadata[METADATA])
        head, output = said["head"], said.get("output")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LoadError(f"the file's metadata {METADATA} cannot be read: {error}") from error
    if head not in HEADS:
        raise LoadError(
            f"the file's metadata {METADATA} has the head {head!r}, expected one of "
            f"{', '.join(HEADS)}"
        )
    return ScoresConfig(head, output)
