"""model_warmup: samples run before a model is ready, and one that cannot run fails the load."""

from pathlib import Path

import numpy as np
import pytest

from crossrun_server.errors import LoadError
from crossrun_server.models import loader
from crossrun_server.models.loader import ModelSource
from crossrun_server.runtime.session import Session
from tests.support import models
from tests.support.running import ON_CPU

NINE = (9).to_bytes(8, "little")
TEN = (10).to_bytes(8, "little")


def gather(root: Path, sample: str, **files: bytes) -> ModelSource:
    """A model that fails unless `index` is 0 to 9, with one sample."""
    config = (
        models.ONE_AT_A_TIME + f'max_batch_size: 4\nmodel_warmup [{{ name: "first" {sample} }}]'
    )
    models.write(root, "gather", models.gather(), config)
    (root / "gather" / "warmup").mkdir()
    for name, data in files.items():
        (root / "gather" / "warmup" / name).write_bytes(data)
    return ModelSource(root / "gather")


def index(data: str, datatype: str = "TYPE_INT64", dims: str = "[1]") -> str:
    value = f"data_type: {datatype} dims: {dims} {data}"
    return f'inputs {{ key: "index" value {{ {value} }} }}'


def test_a_sample_runs_as_often_and_as_large_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`count` times, with the item of the file repeated `batch_size` times; and no zeros."""
    ran: list[list[list[int]]] = []
    run = Session.run

    def recorded(self: Session, inputs: dict[str, np.ndarray], outputs: list[str]) -> object:
        ran.append(inputs["index"].tolist())
        return run(self, inputs, outputs)

    monkeypatch.setattr(Session, "run", recorded)
    sample = "batch_size: 3 count: 2 " + index('input_data_file: "nine"')
    loader.load(gather(tmp_path, sample, nine=NINE), ON_CPU)
    assert ran == [[[9], [9], [9]]] * 2


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (index('input_data_file: "ten"'), "indices element out of data bounds"),
        (index('input_data_file: "none"'), "No such file"),
        (index('input_data_file: "short"'), "8 bytes expected for INT64 [1], got 1"),
        (index('input_data_file: "../config.pbtxt"'), "does not name a file in the model's"),
        (index("zero_data: true", "TYPE_INT32"), "input 'index' is INT32, expected INT64"),
        (index("zero_data: true", dims="[2]"), "has shape [1, 2], expected [-1, 1]"),
        (index("zero_data: true", dims="[-1]"), "has dims [-1], expected sizes"),
        (index(""), "expected zero_data, random_data or input_data_file"),
        ("batch_size: 5 " + index("zero_data: true"), "batch_size is 5, the model takes 1 to 4"),
        ("", "it has no input, the model takes index"),
        (index("zero_data: true") + index("zero_data: true").replace("index", "x"), "see x"),
        (index("random_data: true"), "indices element out of data bounds"),
    ],
)
def test_a_sample_that_cannot_run_fails_the_load(
    sample: str, expected: str, tmp_path: Path
) -> None:
    """The error names the model, the sample and what is wrong with it."""
    source = gather(tmp_path, sample, ten=TEN, short=b"9")
    with pytest.raises(LoadError) as caught:
        loader.load(source, ON_CPU)
    text = "failed to load 'gather': version 1: failed to run warmup sample 'first': "
    assert str(caught.value).startswith(text)
    assert expected in str(caught.value)


@pytest.mark.parametrize("datatype", models.ELEMENT_TYPES)
@pytest.mark.parametrize("data", ["zero_data", "random_data"])
def test_data_can_be_made_for_every_datatype(datatype: str, data: str, tmp_path: Path) -> None:
    """Zeros and random elements exist for all that models take, strings as empty ones."""
    name = "STRING" if datatype == "BYTES" else datatype
    config = f"""max_batch_size: 2
        model_warmup [{{ name: "all" batch_size: 2 inputs {{ key: "x" value {{
            data_type: TYPE_{name} dims: [3] {data}: true }} }} }}]"""
    model = models.identity(models.ELEMENT_TYPES[datatype], ["batch", "width"])
    models.write(tmp_path, "any", model, config)
    assert list(loader.load(ModelSource(tmp_path / "any"), ON_CPU).models) == [1]


def test_a_model_without_batches_is_warmed_up_too(tmp_path: Path) -> None:
    """Where the first dimension is no batch, dims are the whole shape."""
    config = """max_batch_size: 0
        model_warmup [{ inputs { key: "x" value {
            data_type: TYPE_FP32 dims: [2, 1] random_data: true } } }]"""
    model = models.identity(models.ELEMENT_TYPES["FP32"], [2, 1])
    models.write(tmp_path, "whole", model, config)
    assert list(loader.load(ModelSource(tmp_path / "whole"), ON_CPU).models) == [1]


def test_zeros_that_a_model_refuses_are_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without samples a failing warm-up is a warning: callers may send better."""
    models.write(tmp_path, "wide", models.weigh())
    assert list(loader.load(ModelSource(tmp_path / "wide"), ON_CPU).models) == [1]
    assert "wide: the warm-up on zeros failed" in caplog.text


@pytest.mark.parametrize("shape", [(1, 320, 320, 3), (1, 3, 320, 320)])
def test_a_picture_of_any_size_is_warmed_up_with_one_that_nets_take(
    shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with one of 1 x 1, whether the channels come last or first."""
    ran: list[tuple[int, ...]] = []
    run = Session.run

    def recorded(self: Session, inputs: dict[str, np.ndarray], outputs: list[str]) -> object:
        ran.append(inputs["image"].shape)
        return run(self, inputs, outputs)

    monkeypatch.setattr(Session, "run", recorded)
    free = tuple("side" if size == 320 else size for size in shape)
    models.write(tmp_path, "x", models.colours_of_any_size(free), models.ONE_AT_A_TIME)
    loader.load(ModelSource(tmp_path / "x"), ON_CPU)
    assert ran == [shape]


def test_strings_are_warmed_up_with_a_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without samples a model that reads numbers from strings is warmed up as any other."""
    model = models.sum_and_difference(models.ELEMENT_TYPES["BYTES"])
    models.write(tmp_path, "strings", model, "max_batch_size: 8")
    assert list(loader.load(ModelSource(tmp_path / "strings"), ON_CPU).models) == [1]
    assert "warm-up" not in caplog.text


def test_zeros_that_do_not_fit_in_memory_do_not_keep_a_model_from_loading(tmp_path: Path) -> None:
    """A size that is too large for zeros is logged as any warm-up that fails."""
    size = 1 << 46
    config = f'input [{{ name: "x" data_type: TYPE_FP32 dims: [1, {size}] }}]'
    models.write(tmp_path, "m", models.identity(models.ELEMENT_TYPES["FP32"], ["a", "b"]), config)
    (model,) = loader.load(ModelSource(tmp_path / "m"), ON_CPU).models.values()
    assert model.inputs["x"].shape == (1, size)
    model.close()
