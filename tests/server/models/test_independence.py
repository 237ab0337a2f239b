"""What a server does if rows are independent, and if they are not: batches, plans, answers."""

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import onnx
import pytest
from PIL import Image

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun.v1 import vision_pb2 as vision
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_server import disk_cache, tune
from crossrun_server.errors import LoadError
from crossrun_server.model_config.config import ROWS
from crossrun_server.model_config.session_config import LANES
from crossrun_server.models import independence, loader
from crossrun_server.models.loader import ModelSource
from crossrun_server.models.model import Model
from crossrun_server.plans import search, spinning
from crossrun_server.proofs import row_probe
from crossrun_server.runtime.providers import Rule
from crossrun_server.runtime.session import Session
from tests.support import detectors, mixing, models, optional
from tests.support.independent import INDEPENDENT
from tests.support.running import ON_CPU, Server, serving

BATCHES = "max_batch_size: 8\ndynamic_batching { max_queue_delay_microseconds: 300000 }\n"


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Model]:
    """Load a model, with nothing kept of tests before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def loaded(
        model: onnx.ModelProto | None = None, config: str = "", name: str = "m", **files: bytes
    ) -> Model:
        if model is not None:
            pinned = config if "'plan'" in config else models.ONE_AT_A_TIME + config
            models.write(tmp_path, name, model, config and pinned)
        for file, data in files.items():
            (tmp_path / name / "warmup").mkdir(exist_ok=True)
            (tmp_path / name / "warmup" / file).write_bytes(data)
        (found,) = loader.load(ModelSource(tmp_path / name), ON_CPU).models.values()
        found.close()
        return found

    return loaded


def told(model: Model) -> str:
    text: str = model.config.proto.parameters[ROWS].string_value
    return text


def test_without_a_config_proven_rows_are_batched(load: Callable[..., Model]) -> None:
    """And the config says that they are proven."""
    model = load(mixing.renamed("batch", "unk__3"))
    assert (model.config.max_batch_size, model.config.policy.merge) == (32, True)
    assert told(model).startswith("independent: ")


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (mixing.found(), "not independent: output 'y' has shape (4,) for a batch of 1"),
        (mixing.renamed("batch", "num_dets"), "not proven: the first dimension of 'y' is"),
        (mixing.silent(), "not proven: the model answers all made-up rows alike"),
        (mixing.choosy(), "not proven: the model refuses made-up rows: "),
        (mixing.fixed(), "not proven: a run of 2 rows fails"),
    ],
)
def test_without_a_config_nothing_else_is(
    model: onnx.ModelProto, why: str, load: Callable[..., Model], caplog: pytest.LogCaptureFixture
) -> None:
    """Its first dimension is no batch; the config and the log say why."""
    loaded = load(model)
    assert loaded.config.max_batch_size == 0
    assert not loaded.config.proto.HasField("dynamic_batching")
    assert loaded.inputs["x"].shape[0] == -1
    assert told(loaded).startswith(why)
    assert told(loaded).endswith("; so max_batch_size is 0")
    assert f"m: max_batch_size is 0, for rows are {why}" in caplog.text


def test_a_declared_batch_of_rows_that_mix_is_refused(load: Callable[..., Model]) -> None:
    """The error names the output, and what to write in config.pbtxt."""
    with pytest.raises(LoadError) as caught:
        load(mixing.MIXING["softmax over the batch"](), BATCHES)
    assert str(caught.value) == (
        "failed to load 'm': version 1: max_batch_size is 8, but rows are not independent: output "
        "'y' of a row depends on the others of its run; set it to 0, so that each request runs "
        "alone, or parameters 'rows_independent' to 'true' if you know better"
    )


def test_who_knows_better_says_so(
    load: Callable[..., Model], caplog: pytest.LogCaptureFixture
) -> None:
    """Then requests share runs, and the config and the log tell that nothing was tried."""
    model = load(mixing.MIXING["softmax over the batch"](), models.VOUCHED + BATCHES)
    assert model.config.policy.merge
    said = "independent: rows_independent in config.pbtxt says so, and nothing was tried"
    assert told(model) == said
    assert f"m: rows are taken to be {said}" in caplog.text


def test_another_word_is_refused(load: Callable[..., Model]) -> None:
    """Whether it would have an effect or not."""
    config = models.VOUCHED.replace("'true'", "'yes'") + "max_batch_size: 1"
    with pytest.raises(LoadError, match="'rows_independent' is 'yes', expected 'true' or nothing"):
        load(mixing.renamed("batch", "batch"), config)


@pytest.mark.parametrize(
    "model", [mixing.silent(), mixing.choosy(), mixing.fixed(), mixing.renamed("batch", "found")]
)
def test_a_declared_batch_that_is_not_proven_is_not_shared(
    model: onnx.ModelProto, load: Callable[..., Model], caplog: pytest.LogCaptureFixture
) -> None:
    """It loads, requests of several rows are taken, and no two of them share a run or a padding."""
    caplog.set_level("INFO")
    sizes = "parameters { key: 'batch_sizes' value { string_value: '4,8' } }"
    loaded = load(model, BATCHES + sizes)
    assert (loaded.config.max_batch_size, loaded.config.policy.merge) == (8, False)
    assert told(loaded).startswith("not proven: ")
    assert told(loaded).endswith(
        "so requests share no run, unless parameters 'rows_independent' is 'true'"
    )
    assert "m: that rows are independent is not proven: " in caplog.text
    assert "runs batches of" not in caplog.text


def test_a_plan_does_not_merge_what_is_not_proven(load: Callable[..., Model]) -> None:
    """The batches of one that is pinned in config.pbtxt are left out."""
    pinned = "parameters { key: 'plan' value { string_value: '2x1,batch=8' } }"
    config = "max_batch_size: 8 dynamic_batching {}" + pinned
    assert load(mixing.silent(), config).config.proto.parameters[LANES].string_value == "2x1"


def test_tune_measures_no_batches_that_nobody_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of rows that are not proven; and what does not load it refuses to tune."""
    monkeypatch.setattr(search, "SECONDS", 0)
    monkeypatch.setattr(spinning, "measure", lambda *_: [spinning.Spin(0, 1, 1)])
    models.write(tmp_path, "silent", mixing.silent(), BATCHES)
    assert "batch" not in "".join(tune.tune(tmp_path, "silent", ON_CPU, pin=False))
    models.write(tmp_path, "mixing", mixing.found(), BATCHES)
    with pytest.raises(LoadError, match="rows are not independent: output 'y' has shape"):
        list(tune.tune(tmp_path, "mixing", ON_CPU, pin=False))


def test_an_optional_input_may_be_of_one_row(load: Callable[..., Model]) -> None:
    """Its first dimension has another name than the batch: a row of its own holds for all."""
    assert load(optional.scaled("rows"), optional.INPUTS + BATCHES).config.policy.merge


def test_a_detector_of_one_class_is_proven(load: Callable[..., Model]) -> None:
    """That its classes are all 0 says something; that another output is does not."""
    assert load(detectors.echo(), "max_batch_size: 4" + detectors.OPTIONS).config.independent
    assert not load(mixing.quiet(), BATCHES, name="quiet").config.independent


def test_samples_of_the_config_prove_what_made_up_rows_cannot(load: Callable[..., Model]) -> None:
    """Those of model_warmup, which the model is known to take."""
    model = load(mixing.choosy(), BATCHES + samples("one", "two"), one=row(12345), two=row(12346))
    assert model.config.policy.merge
    assert told(model).startswith("independent: ")


def row(value: float) -> bytes:
    return np.full(4, value, "<f4").tobytes()


def samples(*files: str) -> str:
    return "".join(
        f"""model_warmup {{ inputs {{ key: "x" value {{
            data_type: TYPE_FP32 dims: [4] input_data_file: "{file}" }} }} }}\n"""
        for file in files
    )


def test_what_another_load_found_is_not_told(load: Callable[..., Model]) -> None:
    """A client may send back the config that it was told, with another max_batch_size."""
    found = f"parameters {{ key: '{ROWS}' value {{ string_value: 'independent' }} }}"
    assert not told(load(mixing.renamed("batch", "batch"), f"max_batch_size: 1 {found}"))


def test_one_row_at_a_time_needs_no_proof(
    load: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody shares a run where max_batch_size is 1 or 0."""
    monkeypatch.setattr(row_probe, "probe", lambda *_: pytest.fail("it was tried"))
    load(mixing.MIXING["a cumulative sum"](), "max_batch_size: 1")


@pytest.mark.parametrize("what", ["a cumulative sum", "a few values"])
def test_what_was_found_is_kept_for_the_next_load(
    what: str, load: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proven and disproven alike, for this file; whatever cannot be read is found anew."""
    before = told(load((mixing.MIXING | INDEPENDENT)[what]()))
    with monkeypatch.context() as patch:
        patch.setattr(row_probe, "probe", lambda *_: pytest.fail("it was tried again"))
        assert told(load()) == before
    kept = disk_cache.folder("rows")
    (file,) = kept.iterdir()
    file.write_text("nonsense")
    assert told(load()) == before
    assert file.read_text() != "nonsense"


def test_each_placement_is_tried(tmp_path: Path) -> None:
    """Rows that mix on one of two providers are not shared on either."""
    file = tmp_path / "m" / "1" / "model.onnx"
    models.write(tmp_path, "m", mixing.renamed("batch", "batch"))
    alike = mixing.MIXING["a cumulative sum"]().SerializeToString()
    sessions = [
        Session(file, ON_CPU.default),
        Session(alike, replace(ON_CPU.default, rule=Rule.FIRST)),
    ]
    for order in (sessions, sessions[::-1]):
        assert (
            independence.complete_with_batches(None, tmp_path / "m", file, order).max_batch_size
            == 0
        )
    assert (
        independence.complete_with_batches(None, tmp_path / "m", file, sessions[:1]).max_batch_size
        == 32
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a model without config.pbtxt that finds things, and of pictures."""
    root = tmp_path_factory.mktemp("rows")
    models.write(root / "m", "auto", mixing.found())
    models.write(root / "m", "declared", mixing.found(), BATCHES)
    pictures = models.colours()
    pictures.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "found"
    models.write(root / "m", "pictures", pictures, models.COLOURS_CONFIG, labels=["r", "g", "b"])
    loaded = ("--load-model", "auto", "--load-model", "pictures")
    options = ("--model-control-mode", "explicit", *loaded)
    with serving(root / "m", root / "log", *options) as running:
        yield running


def test_callers_get_their_own_answers(server: Server) -> None:
    """However many ask at once for what another caller's row would give."""
    asked = [[5, 6, -1, -1], [-1, -1, -1, -1], [-1, 7, -1, -1]]
    wrong: list[object] = []

    def ask(row: list[int]) -> None:
        x = np.array([row], np.float32)
        message = pb.ModelInferRequest(model_name="auto", raw_input_contents=[x.tobytes()])
        message.inputs.add(name="x", datatype="FP32", shape=x.shape)
        with grpc.insecure_channel(
            server.address, [("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            for _ in range(50):
                reply = Stub(channel).ModelInfer(message, timeout=30)
                got = np.frombuffer(reply.raw_output_contents[0], np.float32).tolist()
                if got != [value for value in row if value > 0]:
                    wrong.append((row, got))

    with ThreadPoolExecutor(9) as callers:
        list(callers.map(ask, asked * 3))
    assert wrong == []


def test_a_load_of_rows_that_mix_fails(server: Server) -> None:
    """Whoever asks for the load is told the output that mixes them."""
    with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError) as caught:
        Stub(channel).RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="declared"))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    said = "max_batch_size is 8, but rows are not independent: output 'y' has shape"
    assert said in str(caught.value.details())


def test_pictures_that_are_not_proven_go_one_by_one(server: Server) -> None:
    """A model gets several of one request in several runs."""
    png = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(png, "PNG")
    with grpc.insecure_channel(server.address) as channel:
        asked = vision.ClassifyRequest(model="pictures", images=[png.getvalue()] * 3)
        results = VisionStub(channel).Classify(asked).results
        request = pb.ModelStatisticsRequest(name="pictures")
        counts = Stub(channel).ModelStatistics(request).model_stats[0]
    assert [result.classes[0].label for result in results] == ["r"] * 3
    assert (counts.inference_count, counts.execution_count) == (3, 3)
