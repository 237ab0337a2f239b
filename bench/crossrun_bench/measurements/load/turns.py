"""One turn as a LoadTurn: of a server that runs, by one generator or several; or in process."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

from crossrun_bench.machine import machine
from crossrun_bench.machine.core_to_core import core_to_core
from crossrun_bench.measurements.load import arrivals
from crossrun_bench.measurements.load.generator.counting import PARTS, WINDOWS
from crossrun_bench.measurements.load.plan import Load, Time
from crossrun_bench.measurements.load.result import LoadTurn
from crossrun_bench.processes.piped import Piped

_LISTS = ("us", "late_us", *(f"{part}_us" for part in PARTS))  # a value for each answered request
_SUMS = ("windows", "ended")  # a count for each third of the time


@dataclass(frozen=True)
class Running:
    """A server that answers; its process is known only if we started it."""

    name: str
    address: str
    pid: int | None
    form: str = "raw"  # of requests, see `forms` and `posting`


def taken(
    generators: Sequence[Piped], server: Running, load: Load, time: Time, number: int
) -> LoadTurn:
    """Ask the server.

    Raises:
        BenchError: it answers wrong.
    """
    pid, apart = server.pid, core_to_core()
    before = machine.cpu_ns(pid) if pid else 0
    found = merged(_asked(generators, server, load, time, number))
    cpu = max(0, machine.cpu_ns(pid) - before) if pid else None
    turn = kept(found, load, number, cpu, machine.rss(pid) if pid else None)
    return replace(turn, core_to_core_ns=apart)


def alone(child: Piped, load: Load, time: Time, number: int) -> LoadTurn:
    """By a process that asks itself: it has no generator, and all its CPU time is for answers."""
    (part,), apart = _parts(load, time, number, 1), core_to_core()
    found = child.ask(do="turn", warm=time.warm, seconds=time.counted, **part)
    # What it takes within the counted time goes to what is answered within it.
    found["served"] = len(found["us"]) if load.rate is None else sum(found["ended"])
    cpu, rss = found["cpu_ns"], found["rss_bytes"]
    turn = kept(found | {"cpu_ns": 0}, load, number, cpu, rss)
    return replace(turn, core_to_core_ns=apart)


def _asked(
    generators: Sequence[Piped], server: Running, load: Load, time: Time, seed: int
) -> list[dict[str, Any]]:
    """What each generator saw, of those that have something to do."""
    parts = _parts(load, time, seed, len(generators))
    # An error is about the server.
    asking = [replace(generator, name=server.name) for generator in generators[: len(parts)]]
    for generator, part in zip(asking, parts, strict=True):
        told = {"warm": time.warm, "seconds": time.counted, **part}
        generator.say(do="turn", address=server.address, form=server.form, **told)
    return [generator.hear() for generator in asking]


def _parts(load: Load, time: Time, seed: int, count: int) -> list[dict[str, Any]]:
    """Clients dealt out; of a schedule, each generator's every n-th request."""
    if load.rate is None:
        dealt = [load.clients // count + (i < load.clients % count) for i in range(count)]
        return [{"clients": clients} for clients in dealt if clients]
    schedule = arrivals.schedule(load.arrivals, load.rate, time.warm + time.counted, seed)
    return [{"schedule": schedule[i::count]} for i in range(count)]


def merged(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What several generators saw, as if one had: third by third, and the counts added up."""
    if len(found) == 1:
        return found[0]
    cuts = [list(pairwise(accumulate(part["windows"], initial=0))) for part in found]
    return {
        "wall_ns": sum(part["wall_ns"] for part in found) // len(found),
        "errors": sum((Counter(part["errors"]) for part in found), Counter[str]()),
        **{key: sum(part[key] for part in found) for key in ("cpu_ns", "served")},
        **{
            key: [sum(each) for each in zip(*(part.get(key, ()) for part in found), strict=True)]
            for key in _SUMS
        },
        **{
            key: [
                value
                for third in range(WINDOWS)
                for part, cut in zip(found, cuts, strict=True)
                for value in part.get(key, ())[slice(*cut[third])]
            ]
            for key in _LISTS
        },
    }


def kept(
    found: dict[str, Any], load: Load, number: int, cpu: int | None, rss: int | None
) -> LoadTurn:
    """As results keep it."""
    return LoadTurn(
        clients=load.clients,
        round=number,
        wall_ns=found["wall_ns"],
        us=tuple(found["us"]),
        errors=dict(found["errors"]),
        generator_cpu_ns=found["cpu_ns"],
        server_cpu_ns=cpu,
        served=found["served"],
        rss_bytes=rss,
        rate=load.rate,
        windows=tuple(found["windows"]),
        ended=tuple(found.get("ended", ())),
        late_us=tuple(found.get("late_us", ())),
        queue_us=tuple(found["queue_us"]),
        compute_us=tuple(found["compute_us"]),
        decode_us=tuple(found["decode_us"]),
    )
