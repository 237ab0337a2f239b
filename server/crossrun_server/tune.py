"""crossrun-serve tune: measures a model's lanes, or its providers, and pins what is best if asked.

It shows the figures. The next load takes what they lead to.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import LoadError
from crossrun_server.model_config import config, session_config
from crossrun_server.model_config.session_config import SessionConfig
from crossrun_server.models import fastest, lanes, loader
from crossrun_server.models.loader import ModelSource
from crossrun_server.models.prepared import Version
from crossrun_server.models.version_loader import ServerContext
from crossrun_server.plans.choice import Choice, milliseconds
from crossrun_server.plans.search import MeasuredPlan
from crossrun_server.runtime.providers import Provider, short

CONFIG = "config.pbtxt"
Parameters = Mapping[str, str]
# Yields figures; returns what to pin, and why it is in doubt.
Measuring = Generator[str, None, tuple[Parameters, str]]


def tune(models: Path, name: str, context: ServerContext, *, pin: bool) -> Iterator[str]:
    """Measure a model on this machine; yields the figures, line by line.

    Args:
        models: the model repository.
        name: of the model.
        context: its providers, if the model names none: the CPU's, or the fastest.
        pin: write what is best into the model's config.pbtxt.

    Raises:
        LoadError: the model cannot be loaded, or `pin` is set and there is no config.pbtxt, or it
            says the same already, or something disturbed the measurement.
    """
    source = ModelSource(models / name)
    with loader.newest(source, context) as (version, wanted):
        keys = (session_config.PLAN, session_config.PROVIDERS)
        if pin:
            _check_pin(source.folder, keys if wanted.to_measure else keys[:1])
        measure = _providers if wanted.to_measure else _plan
        best, doubt = yield from measure(version, wanted)
    if pin:
        if doubt:
            raise LoadError(f"nothing is pinned: {doubt}; measure again")
        _pin(source.folder / CONFIG, best)
        yield f"pinned in {source.folder / CONFIG}"


def _check_pin(folder: Path, keys: Iterable[str]) -> None:
    declared = config.read(folder)
    if declared is None:
        raise LoadError(f"there is no {folder / CONFIG} to pin anything in")
    for key in keys:
        if key in declared.parameters:
            there = f"the {key} {declared.parameters[key].string_value}"
            raise LoadError(f"{folder / CONFIG} has {there} already; take it out first")


def _plan(version: Version, wanted: SessionConfig) -> Measuring:
    """Measure the lanes on the CPU."""
    if not wanted.plan:
        name = version.folder.name
        raise LoadError(f"{name}: {CONFIG} names instances or threads, not a plan")
    tuned = lanes.measure_plan(version.file, wanted, version.core_count, version.completing)
    yield from _lines(version.folder.name, tuned)
    return {session_config.PLAN: str(tuned.plan)}, tuned.doubt


def _providers(version: Version, wanted: SessionConfig) -> Measuring:
    """Measure the providers, each in its best plan."""
    request, choice = wanted.to_measure, fastest.measure(version, wanted).choice
    assert request
    assert choice
    yield f"{version.folder.name} on {version.core_count} cores, in turns"
    yield from _table(choice)
    yield f"fastest {short(choice.chosen)}"
    (provider,) = request.only(choice.chosen).providers
    return _parameters(provider, choice.standings[0].plan), choice.doubt


def _table(choice: Choice) -> Iterator[str]:
    yield f"{'provider':>12} {'plan':>18} {'one request':>14} {'all places':>14}   off by"
    for one in choice.standings:
        start = f"{short(one.provider):>12} {one.plan or '-':>18}"
        if one.seconds is None or one.rate is None:
            yield f"{start} {'refused':>14} {'-':>14}   {one.off_by or '-'}: {one.refusal}"
        else:
            figures = f"{milliseconds(one.seconds):>14} {one.rate:>12.1f}/s"
            yield f"{start} {figures}   {one.off_by or 'no proof'}"


def _parameters(provider: Provider, plan: str) -> Parameters:
    """Return what a model's configuration says to run on a provider, in a plan if it has one."""
    name = short(provider.name)
    options = {f"{name}.{key}": value for key, value in provider.options.items()}
    found = {session_config.PROVIDERS: name, **options}
    return {**found, session_config.PLAN: plan} if plan else found


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


def _pin(file: Path, parameters: Parameters) -> None:
    proto = pb.ModelConfig()
    for key, value in parameters.items():
        proto.parameters[key].string_value = value
    text = file.read_text(encoding="utf-8-sig").rstrip("\n")
    file.write_text(f"{text}\n{proto}", encoding="utf-8")
