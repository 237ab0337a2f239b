"""Execution providers side by side, for real, each in the environment that has it."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import onnx
import pytest

from crossrun_bench import environments, store
from crossrun_bench.compare.command import compare
from crossrun_bench.environments import backend
from crossrun_bench.errors import BenchError
from crossrun_bench.providers import CPU, Provider, asked
from crossrun_bench.report import headlines, html, markdown
from crossrun_bench.results.latency import LatencyResult, TargetLatency
from crossrun_bench.results.precision import PrecisionResult
from crossrun_bench.summary import latency_rows
from tests import models
from tests.conftest import Command, build
from tests.test_bench_report import latency

OPENVINO = "OpenVINOExecutionProvider"
ONE_THREAD = Provider(OPENVINO, {"num_of_threads": "1"})


def write(root: Path, name: str, model: onnx.ModelProto, config: str = "") -> None:
    """Write a model with what the bench wants to know of it."""
    source = {"model": name, "sha256": "1" * 64}
    meta = {"preprocessing": {"scale": 1.0, "offset": 0.0}, "source": source}
    onnx.helper.set_model_props(model, {f"crossrun.{k}": json.dumps(v) for k, v in meta.items()})
    models.write(root, name, model, config)


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of one model that takes pictures, and that OpenVINO computes too."""
    root = tmp_path_factory.mktemp("pictured")
    write(root, "conv", models.pictured_conv(), "max_batch_size: 4")
    return root


def compared() -> LatencyResult:
    """Two providers in process, made up: the second takes half the time of the first."""
    first, second = latency({"onnxruntime": 8.0, "grpc-raw": 4.0}).targets
    told = [(first, CPU, "1.32.0"), (second, ONE_THREAD, "1.24.1")]
    rows = [
        TargetLatency("onnxruntime", t.startup_ns, t.peak_rss_bytes, t.turns, provider, version)
        for t, provider, version in told
    ]
    return dataclasses.replace(latency(), targets=tuple(rows))


def test_providers_stand_side_by_side(pictured: Path, tmp_path: Path, run: Command) -> None:
    """Each in process and served, from its environment, with its options, in interleaved rounds."""
    build("openvino")
    out, page = tmp_path / "l.json", tmp_path / "l.html"
    options: list[object] = ["--providers", "cpu,openvino"]
    options += ["--variant", "openvino num_of_threads=1"]
    options += ["--batch", 1, "--rounds", 2, "--output", out]
    done = run("crossrun-bench", "latency", pictured, "--model", "conv", *options)
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, LatencyResult)
    asked_for = [CPU, Provider(OPENVINO), ONE_THREAD]
    found = [(target.target, target.provider) for target in result.targets]
    assert found == [(name, p) for name in ("onnxruntime", "grpc-raw") for p in asked_for]
    versions = [target.onnxruntime for target in result.targets]
    assert versions[:3] == versions[3:]
    assert versions[0] != versions[1] == versions[2]
    order = sorted((turn.started_ns, turn.round) for t in result.targets for turn in t.turns)
    assert [number for _, number in order] == [n for n in (0, 1, 2) for _ in result.targets]
    assert all((t.startup_ns or 0) > 0 for t in result.targets)
    # Without a proof the CPU's answers are what others are held against.
    proofs = [target.proof for target in result.targets if target.proof]
    assert [proof.against for proof in proofs] == ["nothing", "cpu", "cpu"] * 2
    assert all((p.difference or 0) <= (p.allowed or 0) for p in proofs if p.against == "cpu")
    assert all((t.peak_rss_bytes or 0) > 1e6 for t in result.targets)
    shown = run("crossrun-bench", "report", out, "--output", page)
    assert shown.returncode == 0, shown.stderr
    assert "gRPC server, raw tensor, OpenVINO (num_of_threads=1)" in shown.stdout
    assert "Speed, CPU = 1" in shown.stdout
    assert "Off by, without a proof: from the answers of the CPU provider." in shown.stdout
    assert f"onnxruntime {versions[0]} for CPU; {versions[1]} for OpenVINO." in shown.stdout


def test_precisions_are_measured_where_the_provider_is(
    pictured: Path, tmp_path: Path, run: Command
) -> None:
    """Its environment is found for `precision` too, and the result says which onnxruntime ran."""
    folder = build("openvino").parent
    out = tmp_path / "p.json"
    options = ["--provider", "openvino@mine", "--environment", f"mine={folder}"]
    done = run("crossrun-bench", "precision", pictured, *options, "--rounds", 1, "--output", out)
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, PrecisionResult)
    assert result.provider == Provider(OPENVINO, environment="mine")
    assert f"onnxruntime {result.onnxruntime}." in markdown.render([result])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--providers", "abacus"], "no execution provider 'abacus' here, but azure, cpu: name"),
        (["--providers", "cuda"], "pip install 'crossrun[gpu]' by --environment cuda=DIR"),
        (["--providers", "cpu@gone"], "no Python environment 'gone' in "),
        (["--providers", "cpu", "--environment", "cpu=/none"], "environment 'cpu' in /none: exp"),
        (["--environment", "cpu"], "--environment 'cpu': expected NAME=DIR"),
        (["--variant", "cpu fast"], "option 'fast' of cpu: expected KEY=VALUE"),
        (["--variant", "cpu 'a=b"], "No closing quotation"),
        (["--variant", ""], "--variant '': expected a provider"),
        (["--variant", "cpu a=b"], "CPUExecutionProvider takes no options, got a"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    pictured: Path, run: Command, options: list[str], said: str
) -> None:
    """A provider that no environment has, or an option that none takes, is told with a way out."""
    done = run("crossrun-bench", "latency", pictured, "--model", "conv", *options)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("target", ["onnxruntime", "grpc-raw"])
def test_an_option_that_is_refused_ends_the_run(
    target: str, pictured: Path, tmp_path: Path, run: Command
) -> None:
    """In process and in the server: the provider's own words, and no results."""
    build("openvino")
    out = tmp_path / "l.json"
    options = ["--variant", "openvino colour=red", "--targets", target, "--output", out]
    done = run("crossrun-bench", "latency", pictured, "--model", "conv", *options)
    assert done.returncode == 1
    assert "Invalid OpenVINO EP option: colour" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not out.exists()


def test_a_provider_that_computes_nothing_is_an_error(colours: Path, run: Command) -> None:
    """OpenVINO leaves so small a net to the CPU: in process too, that is no row of OpenVINO."""
    build("openvino")
    options = ["--providers", "openvino", "--targets", "onnxruntime", "--rounds", 1]
    done = run("crossrun-bench", "latency", colours, "--model", "colours", *options)
    assert done.returncode == 1
    assert "colours on onnxruntime, OpenVINO: cannot run here: the provider leaves" in done.stderr


def test_a_model_that_runs_elsewhere_in_the_server_is_an_error(
    pictured: Path, tmp_path: Path, run: Command
) -> None:
    """Its config.pbtxt may name another provider; that would not be what the row says."""
    build("openvino")
    shutil.copytree(pictured, tmp_path / "models")
    config = "max_batch_size: 4 parameters { key: 'providers' value { string_value: 'cpu' } }"
    (tmp_path / "models" / "conv" / "config.pbtxt").write_text(config)
    options = ["--model", "conv", "--providers", "openvino", "--targets", "grpc-raw"]
    done = run("crossrun-bench", "latency", tmp_path / "models", *options)
    assert done.returncode == 1
    assert f"to run it on {OPENVINO}, it runs on {CPU}" in done.stderr


def test_environments_are_tried_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is given, else this one, else the checkout's of that name."""
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    for name in ("given", ".venv-abacus", ".venv-cpu"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "python").touch()
    here, given = sys.executable, tmp_path / "given"
    have = {here: {CPU.name: "1"}, str(given / "bin" / "python"): {CPU.name: "2"}}
    have |= {str(tmp_path / ".venv-abacus/bin/python"): {"AbacusExecutionProvider": "3"}}
    have |= {str(tmp_path / ".venv-cpu/bin/python"): {CPU.name: "4"}}
    monkeypatch.setattr(environments, "_available", have.__getitem__)

    def version(name: str, **folders: Path) -> str:
        return backend(asked(name, []), folders).onnxruntime

    assert version("CPU") == version("CPUExecutionProvider") == "1"
    assert version("cpu", cpu=given) == version("cpu@mine", mine=given) == "2"
    assert version("abacus") == "3"
    assert version("cpu@cpu") == "4"
    with pytest.raises(BenchError, match="no execution provider 'abacus' here, but cpu: "):
        version("abacus", abacus=given)


def test_a_python_without_crossrun_is_named(tmp_path: Path) -> None:
    """What its Python says of that is the reason."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\necho 'No module named crossrun_bench' >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(BenchError, match=r"expected crossrun and a build .* No module named cross"):
        backend(asked("cpu", []), {"cpu": tmp_path})


def test_options_are_kept_as_they_were_typed() -> None:
    """What is behind the first "=" is the value."""
    assert asked("CpU@there", ["a=b", "c=d=e"]) == Provider("CpU", {"a": "b", "c": "d=e"}, "there")


def test_every_form_of_the_report_tells_providers_apart(tmp_path: Path) -> None:
    """Rows, ratios, legend, plots, headline and versions name the provider and its options."""
    store.write(tmp_path / "l.json", compared())
    read = store.read(tmp_path / "l.json")
    assert isinstance(read, LatencyResult)
    assert read == compared()
    ratios = [row.faster_than_first for row in latency_rows(read)]
    assert ratios[0] is None
    assert ratios[1] is not None
    assert ratios[1].value == pytest.approx(2.0, rel=0.05)
    name = "ONNX Runtime, OpenVINO (num_of_threads=1)"
    first = headlines.headlines([read])[0]
    assert first.sentence == f"{name} answers 2.0× faster than CPU"  # noqa: RUF001
    text, page = markdown.render([read]), html.render([read])
    assert "| Speed, CPU = 1 |" in text
    assert "Keras predict" not in text
    assert "onnxruntime 1.32.0 for CPU; 1.24.1 for OpenVINO." in text
    assert page.count(f'">{name}</li>') == 1
    plot = page.split('<script type="application/json">')[1].split("</script>")[0]
    traces = json.loads(plot)["data"]
    assert [trace["name"] for trace in traces] == ["ONNX Runtime, CPU", name]
    assert len({trace["meta"] for trace in traces}) == 2


def test_a_result_from_before_providers_is_read_and_shown(tmp_path: Path) -> None:
    """Rows without a provider are named, coloured and compared as ever."""
    document = store.to_document(latency())
    for target in document["targets"]:
        del target["provider"], target["onnxruntime"]
    (tmp_path / "r.json").write_text(json.dumps(document))
    read = store.read(tmp_path / "r.json")
    assert read == latency()
    text = markdown.render([read])
    assert "| ONNX Runtime | 1 |" in text
    assert "| Speed, tf.function = 1 | Speed, Keras predict = 1 | Requests |" in text
    assert "onnxruntime 1" not in text.split("### Machine")[0]


def test_providers_are_compared_with_themselves() -> None:
    """A later run's providers stand beside the same ones of before, each on its own line."""
    found = compare(compared(), compared(), apart=5.0, allow_unlike=False).changes
    assert {change.target for change in found} == {
        "onnxruntime, CPU",
        "onnxruntime, OpenVINO (num_of_threads=1)",
    }
