"""The table of the machines that results were measured on."""

from collections.abc import Sequence
from itertools import chain

from crossrun_bench.machine.noise import Noise
from crossrun_bench.report.chapters import Chapter
from crossrun_bench.stats import percentiles
from crossrun_bench.view import figures
from crossrun_bench.view.table import Table


def machines(chapters: Sequence[Chapter]) -> Table:
    """Where each result was measured, a column for each."""
    kinds = (chapter.name.capitalize() for chapter in chapters)
    columns = [dict(_machine(chapter)) for chapter in chapters]
    names = dict.fromkeys(chain.from_iterable(columns))
    rows = tuple((name, *(column.get(name, figures.NONE) for column in columns)) for name in names)
    return Table("Machine", ("", *kinds), rows)


def _machine(chapter: Chapter) -> list[tuple[str, str]]:
    m = chapter.result.machine
    versions = m.versions
    known = ("python", "tensorflow", "keras", "onnxruntime", "numpy", "grpcio", "crossrun")
    packages = (*known, *sorted(versions.keys() - {*known}))
    return [
        ("CPU", m.cpu),
        ("Instructions", figures.NONE if m.flags is None else " ".join(m.flags) or "none of note"),
        ("Cores", f"{m.cores:g} of {m.cores_total}"),
        ("Governor", m.governor or "not readable"),
        ("Memory, available", f"{_gib(m.memory_bytes)}, {_gib(m.memory_available_bytes)}"),
        ("System", m.os),
        ("Container", m.container or figures.NONE),
        *_noise(m.noise),
        ("Core to core and back", _core_to_core(chapter.trips)),
        ("Load before, after", f"{m.load_before:.2f}, {m.load_after:.2f}"),
        ("Time", figures.moment(m.time)),
        ("Commit", m.commit or "no checkout"),
        *((name, versions.get(name, figures.NONE)) for name in packages),
    ]


def _core_to_core(found: Sequence[int]) -> str:
    """Median of all turns, and what four in five of them lie between."""
    if not found:
        return figures.NONE
    low, middle, high = percentiles(found, (10, 50, 90))
    return f"{middle:.0f} ns ({low:.0f}–{high:.0f})"  # noqa: RUF001 - from, to


def _noise(noise: Noise | None) -> list[tuple[str, str]]:
    names = ("Others used", "Some process waited for a core", "Preempted, a second")
    if noise is None:
        return [(name, figures.NONE) for name in names]
    waited = f"{figures.part(noise.waiting)} of the time"
    values = (str(noise), waited, f"{noise.preempted:,.0f}")
    return list(zip(names, values, strict=True))


def _gib(count: int | None) -> str:
    return figures.NONE if count is None else f"{count / 2**30:.1f} GiB"
