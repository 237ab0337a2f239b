"""MLPerf LoadGen for real: its runs, its verdicts and its logs, on a model that is tiny."""

import json
from pathlib import Path

import pytest
from PIL import Image

from crossrun_bench import store
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.loadgen import logs as loadgen_logs
from crossrun_bench.measurements.loadgen.driver import TRIES, highest_valid
from crossrun_bench.measurements.loadgen.result import LoadGenResult, ScenarioRun
from crossrun_bench.report import html, markdown
from crossrun_bench.report.chapters import chapters
from tests.support.running import Command

SCENARIOS = ("SingleStream", "MultiStream", "Server", "Offline")
COLOURS = {"red": (200, 30, 60), "green": (20, 190, 80), "blue": (50, 90, 210)}


@pytest.fixture(scope="module", autouse=True)
def _package() -> None:
    pytest.importorskip("mlperf_loadgen", reason="the extra [loadgen] is not installed")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COLOUR/N.png, of three colours, four each; one of them in the wrong folder."""
    root = tmp_path_factory.mktemp("pictures")
    for name, pixel in COLOURS.items():
        (root / name).mkdir()
        for n in range(4):
            Image.new("RGB", (16 + n, 16), pixel).save(root / name / f"{n}.png")
    Image.new("RGB", (16, 16), COLOURS["blue"]).save(root / "red" / "wrong.png")
    return root


def ran(run: Command, models: Path, folder: Path, *options: object) -> LoadGenResult:
    """What a run of the command, with its logs in a folder, writes."""
    out = folder / "loadgen.json"
    done = run(
        "crossrun-bench",
        *("loadgen", models, "--model", "colours", "--seconds", 0.1),
        *("--logs", folder / "logs", "--output", out, *options),
    )
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, LoadGenResult)
    return result


@pytest.mark.parametrize("target", ["onnxruntime", "grpc-raw"])
def test_loadgen_drives_every_scenario(
    target: str, colours: Path, pictures: Path, tmp_path: Path, run: Command
) -> None:
    """In process and served, figures and answers are those of the logs, which are kept."""
    options = ["--target", target, "--target-qps", 800, "--images", pictures, "--accuracy"]
    result = ran(run, colours, tmp_path, "--scenario", ",".join(SCENARIOS), *options)
    single, multi, server, offline = result.runs
    assert [each.scenario for each in result.runs] == list(SCENARIOS)
    assert single.valid
    assert multi.valid
    assert server.target_qps == 800
    assert server.queries >= 459
    assert multi.pictures == 8 * multi.queries
    assert (offline.queries, offline.latency_ns) == (1, None)
    assert offline.per_second
    assert offline.pictures >= (0.1 * offline.per_second if offline.valid else 1)

    folders = {f"{name}-{mode}" for name in SCENARIOS for mode in ("performance", "accuracy")}
    folders = folders - {"Server-performance"} | {"Server-performance-800.0qps"}
    assert {folder.name for folder in (tmp_path / "logs").iterdir()} == folders
    for folder in folders:
        kept = {file.name for file in (tmp_path / "logs" / folder).iterdir()}
        assert {"mlperf_log_summary.txt", "mlperf_log_detail.txt"} < kept
    summaries = {
        each: (tmp_path / "logs" / folder / "mlperf_log_summary.txt").read_text()
        for each in result.runs
        for folder in folders
        if folder.startswith(f"{each.scenario}-performance")
    }
    assert f"90.0th percentile latency (ns) : {single.latency_ns}\n" in summaries[single]
    # How Server and Offline end is the machine's doing, but what is told is what LoadGen says.
    for each, summary in summaries.items():
        assert f"Result is : {'VALID' if each.valid else 'INVALID'}\n" in summary


def test_the_rules_of_v05_reach_loadgen(colours: Path, tmp_path: Path, run: Command) -> None:
    """Percentile, latency bound, library and seeds stand in LoadGen's own log of what it did."""
    ran(run, colours, tmp_path, "--scenario", "Server", "--target-qps", 5_000)
    found = loadgen_logs.detail(tmp_path / "logs" / "Server-performance-5000.0qps")
    assert found["effective_target_latency_ns"] == 10_000_000
    assert found["effective_target_latency_percentile"] == 0.99
    assert found["effective_performance_sample_count"] == 1024
    assert found["effective_schedule_rng_seed"] == 3622009729038561421


def test_an_invalid_run_is_told_as_such(colours: Path, tmp_path: Path, run: Command) -> None:
    """Queries that come faster than they are answered: LoadGen's verdict and its reasons."""
    options = ["--scenario", "Server", "--target", "grpc-raw", "--target-qps", 10_000]
    result = ran(run, colours, tmp_path, *options)
    (server,) = result.runs
    assert not server.valid
    assert server.unmet == ("performance constraints", "early stopping")
    for text in (markdown.render(chapters([result])), html.render(chapters([result]))):
        assert "INVALID: performance constraints, early stopping" in text
        assert "Server: Reduce target QPS to improve latency." in text
        assert "not an MLPerf result" in text


def test_the_search_ends_at_the_highest_valid_rate() -> None:
    """Each try halves the range in which the highest rate is; with none valid it is the lowest."""
    tried: list[float] = []

    def run(qps: float, limit: float) -> ScenarioRun:
        tried.append(qps)
        return ScenarioRun("Server", qps <= limit, (), "", 500, 500, 1, qps, qps)

    assert highest_valid(lambda qps: run(qps, 70.0), 100.0).target_qps == 68.75
    assert tried == [50.0, 75.0, 62.5, 68.75, 71.875]
    none = highest_valid(lambda qps: run(qps, 0.0), 100.0)
    assert (none.target_qps, none.valid) == (100 / 2**TRIES, False)


def test_the_rate_is_searched_where_it_is_not_given(
    colours: Path, tmp_path: Path, run: Command
) -> None:
    """The run told is one of those whose logs are kept."""
    (server,) = ran(run, colours, tmp_path, "--scenario", "Server").runs
    folders = [folder.name for folder in (tmp_path / "logs").iterdir()]
    assert len(folders) == TRIES
    assert f"Server-performance-{server.target_qps:.1f}qps" in folders


def test_a_failing_server_ends_the_run_without_logs(
    colours: Path, tmp_path: Path, run: Command
) -> None:
    """A request refused while LoadGen drives is the error of the command, not a hang."""
    (tmp_path / "models" / "colours" / "1").mkdir(parents=True)
    source = colours / "colours"
    for name in ("labels.txt", "1/model.onnx"):
        (tmp_path / "models" / "colours" / name).write_bytes((source / name).read_bytes())
    config = (source / "config.pbtxt").read_text()
    queue = "default_queue_policy { max_queue_size: 1 }"
    config = config.replace("dynamic_batching {}", f"dynamic_batching {{ {queue} }}")
    (tmp_path / "models" / "colours" / "config.pbtxt").write_text(config)
    done = run(
        "crossrun-bench",
        *("loadgen", tmp_path / "models", "--model", "colours", "--target", "grpc-raw"),
        *("--scenario", "Server", "--target-qps", 20_000, "--logs", tmp_path / "logs"),
        *("--seconds", 0.2),
    )
    assert done.returncode == 1
    assert "colours on grpc-raw: RESOURCE_EXHAUSTED" in done.stderr
    assert not list((tmp_path / "logs").iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scenario", "Burst"], "unknown scenario 'Burst': expected some of SingleStream, Multi"),
        (["--target", "grpc-jpeg"], "unknown target 'grpc-jpeg': expected one of onnxruntime, gr"),
        (["--target-qps", "5"], "--target-qps is for the Server scenario alone"),
        (["--accuracy"], "--accuracy needs pictures: expected --images DIR or 'bundled'"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    options: list[str], said: str, colours: Path, tmp_path: Path, run: Command
) -> None:
    """Nothing is started for options that cannot be meant."""
    done = run(
        "crossrun-bench",
        *("loadgen", colours, "--model", "colours", "--logs", tmp_path / "logs", *options),
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert not (tmp_path / "logs").exists()


def test_accuracy_needs_labels(colours: Path, tmp_path: Path, run: Command) -> None:
    """Pictures of which nobody says what they show give no top-1."""
    Image.new("RGB", (8, 8)).save(tmp_path / "some.png")
    done = run(
        "crossrun-bench",
        *("loadgen", colours, "--model", "colours", "--logs", tmp_path / "logs"),
        *("--images", tmp_path, "--accuracy"),
    )
    assert done.returncode == 1
    assert "no top-1 without labels: no folder is a label" in done.stderr


def test_a_missing_package_names_the_extra(colours: Path, tmp_path: Path, run: Command) -> None:
    """Without LoadGen the error says what to install."""
    hidden = tmp_path / "mlperf_loadgen.py"
    hidden.write_text("raise ModuleNotFoundError(name=__name__)\n")
    done = run(
        "crossrun-bench",
        *("loadgen", colours, "--model", "colours", "--logs", tmp_path / "logs"),
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 1
    assert "needs mlperf_loadgen, which is not installed" in done.stderr
    assert "install the extra [loadgen] of crossrun-inference" in done.stderr


def test_a_log_without_all_pictures_is_refused(tmp_path: Path) -> None:
    """Top-1 is of all pictures or of none."""
    log = [{"seq_id": 0, "qsl_idx": 0, "data": "02000000"}]
    (tmp_path / "mlperf_log_accuracy.json").write_text(json.dumps(log))
    assert loadgen_logs.classes(tmp_path, 1) == (2,)
    with pytest.raises(BenchError, match="has 1 of 2 pictures"):
        loadgen_logs.classes(tmp_path, 2)
