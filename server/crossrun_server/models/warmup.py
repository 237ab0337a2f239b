"""Runs a model before it is ready: on its model_warmup samples, or on zeros if it has none.

So the first caller does not pay for what is done only once. Knows no onnxruntime: it runs a plain
function.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import LoadError
from crossrun_server.model_config.completion import CompletedConfig
from crossrun_server.models import layout
from crossrun_server.proofs.random_inputs import Range, draw_tensor
from crossrun_server.scheduling.batching import Run, Tensors
from crossrun_server.tensors.encoding import from_bytes
from crossrun_server.tensors.tensor_spec import DTYPES, Array, TensorSpec

log = logging.getLogger(__name__)

ZERO = "0"  # a model that reads numbers from strings takes it, but not ""
PICTURE = 320  # pixels of a picture's free side: few networks take 1 x 1
FOLDER = "warmup"  # in the model's folder, for input_data_file


def warm_up(run: Run, config: CompletedConfig, folder: Path, sizes: Sequence[int] = ()) -> None:
    """Run every sample as often as the configuration says; without samples, run zeros once.

    If batches are padded to certain sizes and all other sizes are fixed, zeros also run once in
    each of these.

    Args:
        run: runs the model.
        config: the completed configuration.
        folder: the model's folder.
        sizes: those that batches are padded to; empty if they are not.

    Raises:
        LoadError: a sample does not fit the model or fails; zeros that fail are only logged.
    """
    for position, sample in enumerate(config.proto.model_warmup):
        name = sample.name or f"number {position}"
        try:
            _run_sample(run, sample, config, folder)
        except Exception as error:  # whatever the model raises, the load has failed
            reason = " ".join(str(error).split())  # onnxruntime's may have several lines
            raise LoadError(f"failed to run warmup sample {name!r}: {reason}") from error
    if sizes and all(-1 not in spec.shape[1:] for spec in config.required):
        # TensorRT builds its engine again for each size outside the range it has seen. With the
        # largest first and then the smallest, that happens only twice.
        for rows in (sizes[-1], *sizes[:-1]):
            _run_zeros(run, config, rows)
    elif not config.proto.model_warmup:
        _run_zeros(run, config)


def noting(run: Run, answers: Tensors) -> Run:
    """Wrap a run so that it also puts what it returns into `answers`."""

    def noted(inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        found = run(inputs, outputs)
        answers.update(found)
        return found

    return noted


def _run_sample(run: Run, sample: pb.ModelWarmup, config: CompletedConfig, folder: Path) -> None:
    inputs = _inputs(sample, config, folder)
    outputs = [spec.name for spec in config.outputs]
    for _ in range(sample.count or 1):
        run(inputs, outputs)


def requests(config: CompletedConfig, folder: Path) -> Iterator[dict[str, Array]]:
    """Make a request of one row from each sample that fits the model."""
    for sample in config.proto.model_warmup:
        with suppress(LoadError, OSError, ValueError):  # the warm-up itself says what is wrong
            yield {name: array[:1] for name, array in _inputs(sample, config, folder).items()}


def first_sample(config: CompletedConfig, folder: Path) -> dict[str, Array] | None:
    """Return the request of the first sample; None if there is no sample."""
    samples = config.proto.model_warmup
    return _inputs(samples[0], config, folder) if samples else None


def zeros(config: CompletedConfig) -> dict[str, Array]:
    """Make a request of one row, without optional inputs.

    Free sizes become 1, those of a picture PICTURE.
    """
    return {spec.name: _filled(spec.datatype, _sizes(spec), ZERO) for spec in config.required}


def _sizes(spec: TensorSpec) -> tuple[int, ...]:
    free = [1] * len(spec.shape)
    if len(spec.shape) == len("NHWC") and 3 in (spec.shape[1], spec.shape[3]):
        free[slice(1, 3) if spec.shape[3] == 3 else slice(2, 4)] = PICTURE, PICTURE
    return tuple(own if size == -1 else size for size, own in zip(spec.shape, free, strict=True))


def _run_zeros(run: Run, config: CompletedConfig, rows: int = 1) -> None:
    try:
        inputs = zeros(config)
        if rows > 1:
            inputs = {name: np.repeat(array, rows, axis=0) for name, array in inputs.items()}
        run(inputs, [spec.name for spec in config.outputs])
    except Exception as error:  # noqa: BLE001 - a model may well refuse zeros; callers send better
        log.warning("%s: the warm-up on zeros failed: %s", config.proto.name, error)


def _inputs(sample: pb.ModelWarmup, config: CompletedConfig, folder: Path) -> dict[str, Array]:
    specs = {spec.name: spec for spec in config.inputs}
    required = {spec.name for spec in config.required}
    if unlike := (required - sample.inputs.keys()) | (sample.inputs.keys() - specs.keys()):
        raise LoadError(
            f"it has {', '.join(sorted(sample.inputs)) or 'no input'}, the model takes "
            f"{', '.join(specs)}; see {', '.join(sorted(unlike))}"
        )
    rows = _rows(sample, config.max_batch_size)
    return {
        name: _repeated(_item(entry, name, folder), rows, specs[name])
        for name, entry in _checked(sample.inputs, specs).items()
    }


def _rows(sample: pb.ModelWarmup, limit: int) -> int | None:
    """Return how often one item is repeated; None if the first dimension is not a batch."""
    rows = sample.batch_size or 1
    if rows > (limit or 1):
        raise LoadError(f"its batch_size is {rows}, the model takes 1 to {limit or 1}")
    return rows if limit else None


def _checked(
    inputs: Mapping[str, pb.ModelWarmup.Input], specs: Mapping[str, TensorSpec]
) -> Mapping[str, pb.ModelWarmup.Input]:
    for name, entry in inputs.items():
        datatype = _datatype(entry)
        if datatype != specs[name].datatype:
            raise LoadError(f"input {name!r} is {datatype}, expected {specs[name].datatype}")
        if min(entry.dims, default=0) < 0:
            raise LoadError(f"input {name!r} has dims {list(entry.dims)}, expected sizes")
    return inputs


def _datatype(entry: pb.ModelWarmup.Input) -> str:
    name = pb.DataType.Name(entry.data_type).removeprefix("TYPE_")
    return "BYTES" if name == "STRING" else name


def _item(entry: pb.ModelWarmup.Input, name: str, folder: Path) -> Array:
    """Make one item of an input, without a batch dimension."""
    shape, datatype = tuple(entry.dims), _datatype(entry)
    source = entry.WhichOneof("input_data_type")
    if source is None:
        raise LoadError(
            f"input {name!r} has no data; expected zero_data, random_data or input_data_file"
        )
    if source == "input_data_file":
        data = layout.inside(folder / FOLDER, entry.input_data_file).read_bytes()
        return from_bytes(data, datatype, shape)
    if source == "random_data" and datatype != "BYTES":
        return draw_tensor(np.random.default_rng(0), datatype, shape, Range())
    return _filled(datatype, shape)


def _filled(datatype: str, shape: tuple[int, ...], text: str = "") -> Array:
    return np.full(shape, text if datatype == "BYTES" else 0, DTYPES[datatype])


def _repeated(item: Array, rows: int | None, spec: TensorSpec) -> Array:
    array = item if rows is None else np.repeat(item[np.newaxis], rows, axis=0)
    if not spec.accepts(array.shape):
        raise LoadError(
            f"input {spec.name!r} has shape {list(array.shape)}, expected {list(spec.shape)}"
        )
    return array
