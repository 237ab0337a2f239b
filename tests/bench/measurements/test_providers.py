"""Execution providers side by side, for real, each in the environment that has it."""

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from crossrun_bench import store
from crossrun_bench.compare.command import compare
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.latency.result import LatencyResult, TargetLatency
from crossrun_bench.measurements.latency.summary import latency_rows
from crossrun_bench.measurements.precision.result import PrecisionResult
from crossrun_bench.providers import CPU, Provider, asked
from crossrun_bench.report import html, markdown
from crossrun_bench.report.chapters import chapters, headlines
from crossrun_bench.targets import environments, exactness
from crossrun_bench.targets.environments import backend
from tests.support import models
from tests.support.results import latency
from tests.support.running import Command, build

OPENVINO = "OpenVINOExecutionProvider"
ONE_THREAD = Provider(OPENVINO, {"num_of_threads": "1"}, precision="f32")
BF16 = '{"CPU":{"INFERENCE_PRECISION_HINT":"bf16"}}'


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
    asked_for = [CPU, Provider(OPENVINO, precision="f32"), ONE_THREAD]
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
    assert "OpenVINO (num_of_threads=1) computes fp32 in f32." in shown.stdout


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
    assert result.provider == Provider(OPENVINO, environment="mine", precision="f32")
    assert f"onnxruntime {result.onnxruntime}." in markdown.render(chapters([result]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--providers", "abacus"], "no execution provider 'abacus' here, but azure, cpu: name"),
        (
            ["--providers", "cuda"],
            "with the extra [gpu] of crossrun-inference by --env",
        ),
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
    with pytest.raises(BenchError, match=r"expected crossrun-inf.* No module named cross"):
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
    first = headlines(chapters([read]))[0]
    assert first.sentence == f"{name} answers 2.0× faster than CPU"  # noqa: RUF001
    text, page = markdown.render(chapters([read])), html.render(chapters([read]))
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
    text = markdown.render(chapters([read]))
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


@pytest.fixture
def found_on_intel(request: pytest.FixtureRequest) -> Iterator[None]:
    """What environments have is asked anew, for this process may have asked before."""
    request.getfixturevalue("on_intel")
    environments._available.cache_clear()
    yield
    environments._available.cache_clear()


@pytest.mark.usefixtures("found_on_intel")
def test_on_intel_a_plugin_is_measured_in_what_was_proven(
    pictured: Path, tmp_path: Path, run: Command
) -> None:
    """Beside what somebody asks for, on purpose, and the report tells one from the other."""
    out = tmp_path / "l.json"
    options: list[object] = ["--variant", "openvino", "--variant", f"openvino 'load_config={BF16}'"]
    options += ["--targets", "onnxruntime", "--batch", 1, "--rounds", 1]
    done = run("crossrun-bench", "latency", pictured, "--model", "conv", *options)
    assert done.returncode == 1
    assert f"OpenVINO (load_config={BF16}) is off by " in done.stderr
    assert "from the CPU provider" in done.stderr
    options += ["--proof-tolerance", 1000]
    done = run("crossrun-bench", "latency", pictured, "--model", "conv", *options, "--output", out)
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, LatencyResult)
    found = [target.provider.precision for target in result.targets if target.provider]
    assert found == ["f32", "bf16"]
    assert result.targets[0].onnxruntime
    assert result.targets[0].onnxruntime.endswith(", onnxruntime-ep-openvino 9.9")
    text = markdown.render(chapters([result]))
    assert "OpenVINO computes fp32 in f32." in text
    assert f"OpenVINO (load_config={BF16}) computes fp32 in bf16." in text


SCRIPT = """
import sys, numpy as np
from crossrun_bench.providers import Provider
from crossrun_bench.targets.sessions import session
x = np.linspace(-1, 1, 192, dtype=np.float32).reshape(1, 3, 8, 8)
answers = [
    session(sys.argv[1], Provider(name, {"load_config": hint} if hint else {})).run(["y"], {"x": x})
    for name, hint in (("CPUExecutionProvider", ""), (sys.argv[2], ""), (sys.argv[2], sys.argv[3]))
]
print([np.array_equal(answers[0], one) for one in answers])
"""


@pytest.mark.usefixtures("on_intel")
def test_on_intel_sessions_in_process_answer_as_the_servers_do(tmp_path: Path) -> None:
    """One process may have several: a plugin stays one once onnxruntime lists its provider."""
    models.write(tmp_path, "conv", models.conv())
    file = str(tmp_path / "conv" / "1" / "model.onnx")
    command = [sys.executable, "-c", SCRIPT, file, OPENVINO, BF16]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "[True, True, False]\n", done.stderr


@pytest.mark.usefixtures("found_on_intel")
@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("num_of_threads=1", "the plugin ignores 'num_of_threads'"),
        ("device_type=GPU", "onnxruntime-ep-openvino found no device that it supports"),
        ('load_config={"cpu":{}}', "load_config of OpenVINOExecutionProvider is {"),
    ],
)
def test_on_intel_what_a_plugin_would_pass_over_is_refused(
    option: str, said: str, pictured: Path, run: Command
) -> None:
    """In process as in the server."""
    options = ["--variant", f"openvino '{option}'", "--targets", "onnxruntime"]
    done = run("crossrun-bench", "latency", pictured, "--model", "conv", *options)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("found_on_intel")
def test_a_server_of_another_precision_is_an_error(
    pictured: Path, tmp_path: Path, run: Command
) -> None:
    """Its config.pbtxt may ask for bf16; that would not be what the row says."""
    shutil.copytree(pictured, tmp_path / "models")
    config = "max_batch_size: 4 parameters { key: 'providers' value { string_value: 'openvino' } }"
    config += "parameters { key: 'proof_tolerance' value { string_value: '1000' } }"
    config += f"parameters {{ key: 'openvino.load_config' value {{ string_value: '{BF16}' }} }}"
    (tmp_path / "models" / "conv" / "config.pbtxt").write_text(config)
    options = ["--model", "conv", "--providers", "openvino", "--targets", "grpc-raw"]
    done = run("crossrun-bench", "latency", tmp_path / "models", *options)
    assert done.returncode == 1
    assert "expected the server to compute in f32, not bf16, as config.pbtxt may ask" in done.stderr


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("CUDA", {}, "f32"),
        ("CUDA", {"use_tf32": "1"}, "tf32"),
        ("Tensorrt", {}, ""),
        ("Tensorrt", {"trt_fp16_enable": "1"}, "fp16"),
        ("QNN", {}, "f32"),
        ("CPU", {}, ""),
        ("OpenVINO", {"precision": "FP16", "device_type": "GPU"}, "fp16"),
        ("OpenVINO", {"load_config": BF16, "device_type": "GPU.1"}, "f32"),
        ("OpenVINO", {"load_config": BF16, "device_type": "AUTO:GPU,CPU"}, ""),
        ("OpenVINO", {"load_config": '{"CPU": {"EXECUTION_MODE_HINT": "ACCURACY"}}'}, "f32"),
    ],
)
def test_results_hold_the_precision_that_a_provider_was_told(
    name: str, options: dict[str, str], expected: str
) -> None:
    """What options ask for, else f32 where an option keeps the provider to it."""
    assert exactness.precision(Provider(f"{name}ExecutionProvider", options)) == expected


def test_what_was_computed_in_unlike_precisions_is_not_compared() -> None:
    """Nor with a result from before, whose providers were left to what they do by themselves."""
    after = compared()
    for told in ("bf16", ""):
        other = dataclasses.replace(ONE_THREAD, precision=told)
        targets = [
            dataclasses.replace(t, provider=other) if t.provider == ONE_THREAD else t
            for t in after.targets
        ]
        before = dataclasses.replace(after, targets=tuple(targets))
        with pytest.raises(BenchError, match=r"fp32 of OpenVINO \(num_of_threads=1\)"):
            compare(before, after, apart=5.0, allow_unlike=False)
