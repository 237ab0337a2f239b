"""Whether rows that share a run leave each other alone: made-up rows, run alone and together.

What is run is a plain function. Knows no onnxruntime and no configuration.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

import numpy as np

from crossrun_server import samples
from crossrun_server.batching import Run, Tensors, check_rows
from crossrun_server.samples import Range
from crossrun_server.tensors import DTYPES, Array, TensorSpec

PROVEN, MIXED, UNKNOWN = "proven", "mixed", "unknown"

# A row's answers alone and together may differ by this share of its largest: other batch sizes have
# other kernels, which add up in another order.
TOLERANCE, HALF_TOLERANCE = 1e-3, 2e-2
HALVES = {"FP16", "BF16"}
# Where only its neighbours change, the same kernels compute a row.
NEIGHBOURS = 1e-5
OTHERS = 1e-2  # of the largest in other rows counts as a row's own, which may be near zero

FREE = (32, 224, 3, 1)  # sizes to try where they are free, until the model takes them
MOST_ELEMENTS = 1 << 24  # of one row with such sizes
# Floats and integers that rows are made of, the former of any magnitude at last. Few models take
# indices or lengths from all of 32 or 64 bits, so integers are small; those of 8 or 16 are not.
FEW, BITS = Range(0, 9), Range(0, 1)
RANGES: tuple[tuple[Range | None, Range], ...] = (
    (Range(-1, 1), Range(-99, 99)),
    (Range(0, 1), Range(0, 99)),
    (Range(0, 255), FEW),
    (None, BITS),
    (Range(-1, 1), FEW),
    (Range(0, 1), BITS),
)
DRAWS, ELEMENTS = 2, 16  # at least, and of one row of each together: few may be equal by chance

Group = tuple[int, ...]  # rows that share a run, by their places in a draw
PAIRS: tuple[Group, ...] = ((0, 1), (0, 2), (1, 0), (2, 0), (0, 0))
SWAPS = ((0, (0, 1), (0, 2)), (1, (1, 0), (2, 0)))  # a place, and two runs with one row there
TRIPLES: tuple[Group, ...] = ((0, 1, 2), (2, 0, 1), (1, 2, 0))
JITTERS = 4

Draw = Callable[[], Sequence[Tensors]]

# What exporters call sizes that they know nothing of.
MADE_UP = re.compile(
    r"|\?|-1|none|unk(nown)?_*\d*"  # tf2onnx and others
    r"|s\d+|.*_dim_\d+|.*_dynamic_axes_\d+"  # PyTorch
    r"|.*__d\d+|.*dynamicdimension\.\d+",  # onnxruntime, Paddle
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Finding:
    """What was found of a model's rows, and why."""

    state: str  # PROVEN, MIXED or UNKNOWN
    reason: str


@dataclass(frozen=True)
class Asked:
    """What a model is asked: all that a finding depends on, but for the model."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    most: int  # rows of a run
    ranges: Mapping[str, Range] = field(default_factory=dict)  # of inputs, where they are known
    given: tuple[Tensors, ...] = ()  # requests of one row that the model is known to take
    tolerance: float = TOLERANCE  # of floats, see there


class _Mixed(Exception):  # noqa: N818 - a finding, no error
    """Rows are not independent."""


class _Unknown(Exception):  # noqa: N818
    """Nothing can be found."""


class _Refused(Exception):  # noqa: N818
    """The model does not take such a row."""


def disagreement(specs: Sequence[TensorSpec]) -> str:
    """Say which tensor's first size the model's file calls otherwise than another's.

    Names that exporters make up for sizes they know nothing of say nothing. Empty where all agree.
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


def probe(run: Run, asked: Asked) -> Finding:
    """Run made-up rows alone and in runs of 2 and 3, with and without the optional inputs.

    Every output has to have one row for each, and the same for a row whoever its neighbours are.
    """
    counted = _Counted(run)
    required = tuple(spec for spec in asked.inputs if not spec.optional)
    try:
        with np.errstate(all="ignore"):
            told = [
                _tells_apart(counted, replace(asked, inputs=inputs))
                for inputs in dict.fromkeys((required, asked.inputs))
            ]
    except _Mixed as mixed:
        return Finding(MIXED, str(mixed))
    except _Unknown as unknown:
        return Finding(UNKNOWN, str(unknown))
    if not any(told):
        return Finding(UNKNOWN, "the model answers all made-up rows alike")
    return Finding(PROVEN, f"{counted.runs} runs of made-up rows")


class _Counted:
    """A run that counts."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.runs = 0

    def __call__(self, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        self.runs += 1
        return self._run(inputs, outputs)


def _tells_apart(run: Run, asked: Asked) -> bool:
    """Try what is given, and made-up rows of the first kind that the model takes."""
    told, refusals = _tried(run, asked, _given(asked))
    for draws in _kinds(asked):
        found, refused = _tried(run, asked, draws)
        told, refusals = told + found, refusals + refused
        if found:
            break
    if not told:
        raise _Unknown(f"the model refuses made-up rows: {refusals[0]}")
    return any(told)


def _tried(run: Run, asked: Asked, draws: Iterable[Draw]) -> tuple[list[bool], list[str]]:
    """Of each draw that the model takes whether answers differ; of the others why it does not."""
    told, refusals = [], []
    for draw in draws:
        try:
            told.append(_Trial(run, asked, draw).told_apart())
        except _Refused as refused:
            refusals.append(str(refused))
    return told, refusals


def _given(asked: Asked) -> Iterator[Draw]:
    names = {spec.name for spec in asked.inputs}
    like = [row for row in asked.given if row.keys() == names and _alike(row, asked.given[0])]
    if len(like) > 1:
        yield lambda: [like[i % len(like)] for i in range(3)]


def _alike(one: Tensors, other: Tensors) -> bool:
    return all(name in other and one[name].shape == other[name].shape for name in one)


def _kinds(asked: Asked) -> Iterator[list[Draw]]:
    """Ways to make up rows, the likeliest to tell something first."""
    sized = [spec for spec in _sized(asked) if -1 in spec.shape[1:]]
    free = [size for size in FREE if _elements(sized, size) <= MOST_ELEMENTS] if sized else FREE[:1]
    narrow = any(_is_whole(spec) and DTYPES[spec.datatype].itemsize < 4 for spec in asked.inputs)
    for whole in (True, False) if narrow else (True,):
        for size in free:
            yield _draws(asked, size, whole)


def _sized(asked: Asked) -> list[TensorSpec]:
    """The inputs, with the sizes of what is given in the place of free ones."""
    shapes = {name: array.shape for row in asked.given[:1] for name, array in row.items()}
    return [
        replace(spec, shape=(-1, *shapes[spec.name][1:])) if spec.name in shapes else spec
        for spec in asked.inputs
    ]


def _draws(asked: Asked, free: int, whole: bool) -> list[Draw]:
    specs = _sized(asked)
    kinds = []
    for floats, integers in RANGES:
        ranges = {spec.name: _range(spec, floats, integers, whole) for spec in specs}
        ranges |= asked.ranges
        if ranges not in kinds:
            kinds.append(ranges)
    elements = max(1, _elements(specs, free))
    turns = max(DRAWS, ELEMENTS // elements, len(kinds))
    return [
        partial(samples.contrasting, specs, kinds[turn % len(kinds)], free, turn)
        for turn in range(turns)
    ]


def _range(spec: TensorSpec, floats: Range | None, integers: Range, whole: bool) -> Range | None:
    if not _is_whole(spec):
        return floats if spec.datatype not in ("BOOL", "BYTES") else BITS
    return None if whole and DTYPES[spec.datatype].itemsize < 4 else integers


def _is_whole(spec: TensorSpec) -> bool:
    return spec.datatype != "BF16" and DTYPES[spec.datatype].kind in "iu"


def _elements(specs: Sequence[TensorSpec], free: int) -> int:
    return sum(math.prod(free if n == -1 else n for n in spec.shape[1:]) for spec in specs)


class _Trial:
    """Three rows of one draw, and what the model says of them.

    Raises:
        _Refused: it does not take one of them alone.
    """

    def __init__(self, run: Run, asked: Asked, draw: Draw) -> None:
        self._run, self._asked = run, asked
        try:
            self._rows = draw()
        except MemoryError as error:
            raise _Refused("such a row does not fit in memory") from error
        self._alone = [self._answer_alone(row) for row in self._rows]
        self._others = {
            spec.name: max(_largest(answer[spec.name]) for answer in self._alone)
            for spec in asked.outputs
        }
        self._moved = cache(self._move)

    def told_apart(self) -> bool:
        """Whether the rows have different answers, as they have to for the rest to say anything.

        Raises:
            _Mixed: an answer depends on who shares the run; or on nothing that is given.
            _Unknown: they cannot share a run.
        """
        self._check_again(self._alone, [self._answer_alone(row) for row in self._rows])
        most = self._asked.most
        pairs = {pair: self._together(pair) for pair in PAIRS if most >= len(pair)}
        if pairs:
            self._check_neighbours(pairs)
        for group in (*pairs, *(group for group in TRIPLES if most >= len(group))):
            self._check_alone(group, pairs.get(group) or self._together(group))
        first, *others = self._alone
        return any(self._apart(first, other, name) for other in others for name in first)

    def _check_again(self, before: Sequence[Tensors], again: Sequence[Tensors]) -> None:
        for one, other in zip(before, again, strict=True):
            for spec in self._asked.outputs:
                if self._apart(one, other, spec.name) > self._allowed(spec):
                    raise _Mixed(f"output {spec.name!r} is another each time the same row is run")

    def _check_neighbours(self, pairs: Mapping[Group, Sequence[Tensors]]) -> None:
        again = self._together(PAIRS[0])
        self._check_again(pairs[PAIRS[0]], again)
        for place, one, other in SWAPS:
            for spec in self._asked.outputs:
                unsteady = self._apart(pairs[PAIRS[0]][0], again[0], spec.name)
                apart = self._apart(pairs[one][place], pairs[other][place], spec.name)
                if apart > 4 * unsteady + (NEIGHBOURS if _is_float(spec) else 0):
                    raise _Mixed(f"output {spec.name!r} of a row depends on the others of its run")

    def _check_alone(self, group: Group, answers: Sequence[Tensors]) -> None:
        for row, answer in zip(group, answers, strict=True):
            for spec in self._asked.outputs:
                if self._apart(self._alone[row], answer, spec.name) <= self._allowed(spec):
                    continue
                # An answer may hang by a hair: which of two is the larger, what is just enough.
                changed = self._changed(self._alone[row], answer, spec.name)
                if changed > 2 * self._moved(row)[spec.name]:
                    raise _Mixed(
                        f"output {spec.name!r} of a row is another in a run of {len(group)} rows "
                        "than alone"
                    )

    def _move(self, row: int) -> dict[str, float]:
        """How much of the answers to a row changes where the row does, by the tolerance."""
        found = dict.fromkeys(self._alone[row], 0.0)
        for seed in range(JITTERS):
            try:
                moved = self._answer_alone(_jittered(self._rows[row], self._asked.tolerance, seed))
            except _Refused:
                continue
            for name, most in found.items():
                changed = self._changed(self._alone[row], moved, name)
                found[name] = max(most, changed) if math.isfinite(changed) else most
        return found

    def _answer_alone(self, row: Tensors) -> Tensors:
        try:
            answer = self._run(row, self._names)
        except Exception as error:  # whatever the model raises
            raise _Refused(_plain(error)) from error
        return self._split(answer, 1)[0]

    def _together(self, group: Group) -> list[Tensors]:
        rows = [self._rows[i] for i in group]
        joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        try:
            answer = self._run(joined, self._names)
        except Exception as error:  # whatever the model raises
            text = f"a run of {len(group)} rows fails, and each alone does not: {_plain(error)}"
            raise _Unknown(text) from error
        return self._split(answer, len(group))

    @property
    def _names(self) -> list[str]:
        return [spec.name for spec in self._asked.outputs]

    def _split(self, answer: Tensors, rows: int) -> list[Tensors]:
        try:
            check_rows(answer, rows)
        except ValueError as error:
            raise _Mixed(str(error)) from error
        read = {s.name: _numbers(answer[s.name], s.datatype) for s in self._asked.outputs}
        return [{name: array[row] for name, array in read.items()} for row in range(rows)]

    def _allowed(self, spec: TensorSpec) -> float:
        if not _is_float(spec):
            return 0
        return max(self._asked.tolerance, HALF_TOLERANCE if spec.datatype in HALVES else 0)

    def _apart(self, one: Tensors, other: Tensors, name: str) -> float:
        """By how much two answers differ where they do most."""
        return float(self._differences(one[name], other[name], name).max(initial=0))

    def _changed(self, one: Tensors, other: Tensors, name: str) -> float:
        """By how much they differ in all; no number counts for more than 1."""
        if one[name].shape != other[name].shape:
            return math.inf
        return float(np.minimum(self._differences(one[name], other[name], name), 1).sum())

    def _differences(self, a: Array, b: Array, name: str) -> Array:
        """Of floats as a share of the largest; of others 0 or 1, and of other shapes infinite."""
        if a.shape != b.shape:
            return np.full(max(a.size, 1), math.inf)
        if a.dtype.kind != "f":
            return np.asarray(a != b, np.float64)
        scale = max(_largest(a), _largest(b)) + OTHERS * self._others[name]
        apart = np.abs(a - b) / scale
        equal = (a == b) | (np.isnan(a) & np.isnan(b))
        return np.where(equal, 0, np.where(np.isnan(apart), math.inf, apart))


def _meaning(symbol: str) -> str:
    """A size's name, if it says anything, in one of its spellings."""
    if MADE_UP.fullmatch(symbol):
        return ""
    return re.sub(r"[_ ]?size$", "", symbol.casefold())


def _jittered(row: Tensors, share: float, seed: int) -> Tensors:
    """Change numbers by no more than nobody minds; what is no such number stays."""
    draw = np.random.default_rng(seed)

    def moved(array: Array) -> Array:
        if array.dtype.kind == "f":
            low, high = array.min(initial=0), array.max(initial=0)
            by = share * (high - low) * draw.uniform(-1, 1, array.shape)
            return np.asarray(np.clip(array + by, low, high), array.dtype)
        if array.dtype.kind in "iu" and array.dtype.itemsize == 1:
            limits = np.iinfo(array.dtype)
            by = draw.integers(-1, 2, array.shape)
            return np.asarray(np.clip(array + by, limits.min, limits.max), array.dtype)
        return array

    return {name: moved(array) for name, array in row.items()}


def _numbers(array: Array, datatype: str) -> Array:
    if datatype == "BF16":
        bits = np.left_shift(array, 16, dtype=np.uint32)
        return bits.view(np.float32).astype(np.float64)
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _is_float(spec: TensorSpec) -> bool:
    return spec.datatype == "BF16" or DTYPES[spec.datatype].kind == "f"


def _largest(array: Array) -> float:
    if array.dtype.kind != "f":
        return 0.0
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max(initial=0))


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())  # onnxruntime's may have several lines
