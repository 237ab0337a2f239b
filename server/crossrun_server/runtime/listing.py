"""The inventory of execution providers as text for a terminal."""

from collections.abc import Iterable, Iterator

from crossrun_server.distribution import the_extra
from crossrun_server.runtime import inventory
from crossrun_server.runtime.inventory import ProviderStatus
from crossrun_server.runtime.providers import EXTRAS, short


def lines() -> Iterator[str]:
    """Tell what runs here, what is installed and cannot run, and what is not installed."""
    found = inventory.provider_statuses()
    installed = [one for one in found if one.origin != "none"]
    yield f"onnxruntime {inventory.onnxruntime_version()}"
    yield from _group("Run here:", (one for one in installed if one.runs))
    yield from _group("Installed, cannot run:", (one for one in installed if not one.runs))
    yield from _group("Not installed:", (one for one in found if one.origin == "none"))


def _group(title: str, members: Iterable[ProviderStatus]) -> Iterator[str]:
    rows = [f"  {short(one.name):<14} {one.name:<31} {_remark(one)}".rstrip() for one in members]
    if rows:
        yield from ("", title, *rows)


def _remark(found: ProviderStatus) -> str:
    if found.origin == "none":
        return f"install {the_extra(EXTRAS[found.name])}" if found.name in EXTRAS else ""
    return f"{found.origin}: {', '.join(found.devices) or found.reason}".removesuffix(": ")
