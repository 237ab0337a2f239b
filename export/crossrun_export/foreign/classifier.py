"""A classifier of another runtime, as the export of classifiers asks one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from crossrun_export import pictures, provenance
from crossrun_export.convert import INPUT, OUTPUT
from crossrun_export.errors import ExportError
from crossrun_export.foreign import batch, entrance
from crossrun_export.foreign.source import CALLED, ForeignSource, Output
from crossrun_export.graph import prune
from crossrun_export.options import Computes, InputDtype
from crossrun_export.provenance import Provenance
from crossrun_export.release import Tell
from crossrun_export.runtime import Scores
from crossrun_export.scaling import Preprocessing, Scaling

NAMES = (OUTPUT, "logits")  # which the output of an exported classifier may have


@dataclass(frozen=True)
class ForeignClassifier:
    """A source, one of whose outputs has the scores."""

    source: ForeignSource
    output: Output
    labels: tuple[str, ...]  # empty where none are known
    preprocessing: Preprocessing
    say: Tell = lambda _: None  # is told what a person has to know of the conversion
    wordnet_ids: tuple[str, ...] = ()
    loss: str = ""

    @property
    def name(self) -> str:
        """That of the file or the folder."""
        return self.source.name

    @property
    def runtime(self) -> str:
        """As a person knows it."""
        return CALLED[self.source.runtime]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input, pixels."""
        return self.source.picture.size

    @property
    def classes(self) -> int:
        """How many scores it has."""
        return max(self.output.shape[1:])

    @property
    def computes(self) -> Computes:
        """The coarsest that it computes in."""
        return self.source.computes

    @property
    def answers_in(self) -> Computes:
        """The coarsest that it computes or answers in."""
        half = self.computes == "float32" and self.output.dtype == np.float16
        return "float16" if half else self.computes

    def answer(self, pixels: NDArray[np.uint8], scaling: Scaling) -> Scores:
        """Ask the runtime about pixels, picture by picture; returns [count, classes]."""
        found = entrance.answers(self.source, pixels, scaling)[self.output.name]
        return found.reshape(len(pixels), self.classes)

    def to_onnx(self, input_dtype: InputDtype) -> onnx.ModelProto:
        """Put the entrance before the source's graph, and leave its scores as the one output."""
        some = pictures.drawn(self, pictures.MEASURING_SEED, 2).stretched
        scaling = self.preprocessing.scaling
        model = entrance.served(self.source, scaling, input_dtype, some, self.say)
        _return_only(model, self.output, self.classes)
        onnx.checker.check_model(model, full_check=True)
        return model

    def made_from(self) -> Provenance:
        """What is kept of it."""
        return provenance.of_foreign(self.source, self.preprocessing, self.labels, None)


def scores_of(outputs: Sequence[Output], asked: str | None) -> Output:
    """The output that has a classifier's scores.

    Args:
        outputs: all that a model has.
        asked: what --scores-output says.

    Raises:
        ExportError: there are several and none is asked for, or what is asked for has no scores.
    """
    fitting = {output.name: output for output in rows_of_scores(outputs)}
    wanted = [asked] if asked is not None else list(fitting)
    if len(wanted) == 1 and wanted[0] in fitting:
        return fitting[wanted[0]]
    there = " or ".join(f"{name} {list(output.shape)}" for name, output in fitting.items())
    raise ExportError(
        "--scores-output says which output has the scores: expected "
        + (there or "one of floats [batch, classes], and there is none")
    )


def rows_of_scores(outputs: Sequence[Output]) -> list[Output]:
    """Those that have one number for each class: [batch, classes], also as one pixel."""
    return [output for output in outputs if _is_row_of_scores(output)]


def _is_row_of_scores(output: Output) -> bool:
    rest = output.shape[1:]
    is_fixed = bool(rest) and min(rest) > 0
    return is_fixed and output.dtype.kind == "f" and sum(size > 1 for size in rest) <= 1


def _return_only(model: onnx.ModelProto, output: Output, classes: int) -> None:
    """Let a graph return the scores alone: `probabilities` FP32 [batch, classes]."""
    rows = batch.of(model, INPUT)
    inner = {name: f"{entrance.PREFIX}inner_{name}" for name in NAMES}
    for name, other in inner.items():
        entrance.rename(model.graph, name, other)
    before = inner.get(output.name, output.name)
    flat = f"{entrance.PREFIX}flat"
    model.graph.node.append(helper.make_node("Flatten", [before], [flat], axis=1))
    model.graph.node.append(helper.make_node("Cast", [flat], [OUTPUT], to=onnx.TensorProto.FLOAT))
    shape = [batch.NAME if rows < 0 else rows, classes]
    value = helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, shape)
    del model.graph.output[:]
    model.graph.output.append(value)
    prune(model)
