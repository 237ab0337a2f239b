"""Whether the memory that is there is enough for a conversion, asked before it begins.

A system that runs out of memory ends the process without a word. Only Linux is asked; elsewhere
nothing is known, and the conversion goes on.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from crossrun_export.errors import ExportError

GIB = 2**30
# Fitted to the peaks of whole exports in fp32 of MobileNet, ResNet50V2, ResNet152V2,
# EfficientNetV2M, VGG16, ConvNeXtTiny, Base and Large: 0.45 to 4.7 GiB more than before the
# conversion, which is 67 to 100 % of what this makes of them. TensorFlow's simplification takes
# most of it, and of dense layers onnxruntime's loading.
FIXED, PER_WEIGHT, PER_KERNEL = 2 * GIB // 5, 12, 6  # bytes, and bytes for each byte of a weight
# A control group's limit, what it uses, and its statistics: version 2, and "memory" of version 1.
UNIFIED = ("sys/fs/cgroup", "memory.max", "memory.current")
LEGACY = ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
FILES = ("inactive_file", "active_file")  # of the statistics; version 1 says total_ of whole trees


def needed(weights: int, kernels: int) -> int:
    """Bytes that an export takes beside the Keras model, estimated.

    Args:
        weights: bytes of all weights.
        kernels: of these, bytes of the weights that the conversion leaves as they are.
    """
    return FIXED + PER_WEIGHT * (weights - kernels) + PER_KERNEL * kernels


def check(name: str, needed: int, root: Path = Path("/")) -> None:
    """Refuse what does not fit.

    Args:
        name: of what is to be converted.
        needed: bytes, beside those that are taken already.
        root: where `proc` and `sys` are.

    Raises:
        ExportError: less is there.
    """
    there = available(root)
    if there is not None and needed > there:
        raise ExportError(
            f"converting {name} takes about {needed / GIB:.1f} GiB of memory more, and "
            f"{there / GIB:.1f} GiB are there; end other programs, raise the container's limit, "
            "add swap, or export it on a larger machine"
        )


def available(root: Path = Path("/")) -> int | None:
    """Bytes that this process could still take, swap included; None where nothing tells."""
    system = _numbers(root / "proc/meminfo")  # in KiB
    if "MemAvailable" not in system:
        return None
    least = min([1024 * system["MemAvailable"], *_left(root)])
    return least + 1024 * system.get("SwapFree", 0)


def _left(root: Path) -> Iterator[int]:
    """Bytes that each control group leaves this process, where it has a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if not controllers or "memory" in controllers.split(","):
            mount, limit, taken = LEGACY if controllers else UNIFIED
            own = root / mount / path.lstrip("/")
            for folder in (own, *own.parents):
                yield from _left_in(folder, limit, taken)
                if folder == root / mount:
                    break


def _left_in(folder: Path, limit: str, taken: str) -> Iterator[int]:
    """Copies of files count as taken, and are given up where memory is wanted."""
    try:
        most, now = ((folder / name).read_text().strip() for name in (limit, taken))
    except OSError:  # as in a container, which does not see the groups around its own
        return
    if most.isdecimal():  # "max" is no limit
        stat = _numbers(folder / "memory.stat")
        files = [stat.get(f"total_{kind}", stat.get(kind, 0)) for kind in FILES]
        yield max(0, int(most) - int(now) + sum(files))


def _numbers(file: Path) -> dict[str, int]:
    """Lines of a name and a whole number."""
    try:
        found = re.findall(r"^(\w+):?\s+(\d+)", file.read_text(), re.MULTILINE)
    except OSError:
        return {}
    return {name: int(number) for name, number in found}
