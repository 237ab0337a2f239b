"""crossrun-serve tune: measures a model's lanes, shows the curve, and pins the plan if asked."""

from collections.abc import Iterator
from pathlib import Path

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import LoadError
from crossrun_server.model_config import config, session_config
from crossrun_server.models import loader
from crossrun_server.models.loader import ModelSource
from crossrun_server.models.version_loader import ServerContext
from crossrun_server.plans.lane_plan import Plan
from crossrun_server.plans.search import MeasuredPlan
from crossrun_server.runtime import providers

CONFIG = "config.pbtxt"


def tune(models: Path, name: str, *, pin: bool) -> Iterator[str]:
    """Measure a model on this machine; yields the figures, line by line.

    Args:
        models: the model repository.
        name: of the model.
        pin: write the plan into the model's config.pbtxt.

    Raises:
        LoadError: the model cannot be loaded on the CPU, or `pin` is set and there is no
            config.pbtxt, or it has a plan already.
    """
    source = ModelSource(models / name)
    if pin:
        _check_pin(source.folder)
    tuned = loader.measure_plan(source, ServerContext(providers.parse("cpu")))
    yield from _lines(name, tuned)
    if pin:
        _pin(source.folder / CONFIG, tuned.plan)
        yield f"pinned in {source.folder / CONFIG}"


def _check_pin(folder: Path) -> None:
    declared = config.read(folder)
    if declared is None:
        raise LoadError(f"there is no {folder / CONFIG} to pin a plan in")
    if session_config.PLAN in declared.parameters:
        pinned = declared.parameters[session_config.PLAN].string_value
        raise LoadError(f"{folder / CONFIG} has the plan {pinned} already; take it out first")


def _lines(name: str, tuned: MeasuredPlan) -> Iterator[str]:
    yield f"{name} on {tuned.curve[0].lane.threads} cores"
    yield f"{'places x threads':>18} {'one request':>14} {'all places':>14}"
    for lane, latency, rate, _ in tuned.curve:
        yield f"{lane!s:>18} {1e3 * latency:>11.2f} ms {rate:>12.1f}/s"
    for rows, rate in tuned.batches[1:]:
        yield f"{f'batch {rows}':>18} {1e3 * rows / rate:>11.2f} ms {rate:>12.1f}/s, one place"
    for lane, spins in tuned.spins.items():
        yield f"{f'{lane}, spinning':>18} {'one of them':>14} {'CPU':>14}"
        for duration, latency, cpu in spins:
            yield f"{duration:>15} us {1e3 * latency:>11.2f} ms {1e3 * cpu:>11.2f} ms"
    yield f"plan {tuned.plan}"


def _pin(file: Path, plan: Plan) -> None:
    proto = pb.ModelConfig()
    proto.parameters[session_config.PLAN].string_value = str(plan)
    text = file.read_text(encoding="utf-8-sig").rstrip("\n")
    file.write_text(f"{text}\n{proto}", encoding="utf-8")
