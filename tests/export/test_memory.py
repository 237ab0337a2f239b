"""The memory that a conversion takes: less than is estimated, and refused where it is not there."""

import subprocess
import sys
from pathlib import Path

import pytest

from crossrun_export import memory, sources
from crossrun_export.backend import tf2onnx
from crossrun_export.errors import ExportError
from crossrun_export.pipeline import export
from tests.support.keras_models import options

GIB = 2**30
MEMINFO = "MemTotal: 33554432 kB\nMemFree: 1024 kB\nMemAvailable: 16777216 kB\nSwapFree: 0 kB\n"
V2 = ("0::/pod/own\n", "sys/fs/cgroup", "memory.max", "memory.current", "")
V1 = (
    "5:cpu:/\n4:memory,other:/pod/own\n",
    "sys/fs/cgroup/memory",
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "total_",
)


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_what_the_system_says_is_available_is_there(tmp_path: Path) -> None:
    """Copies of files count as free, and so does swap."""
    assert memory.available(system(tmp_path, {"proc/meminfo": MEMINFO})) == 16 * GIB
    with_swap = MEMINFO.replace("SwapFree: 0", "SwapFree: 1048576")
    assert memory.available(system(tmp_path, {"proc/meminfo": with_swap})) == 17 * GIB


def test_a_system_that_does_not_tell_refuses_nothing(tmp_path: Path) -> None:
    """Outside Linux nothing is known, and nothing refused."""
    assert memory.available(tmp_path) is None
    memory.check("net", 2**60, tmp_path)


@pytest.mark.parametrize("version", [V2, V1], ids=["version 2", "version 1"])
@pytest.mark.parametrize("group", ["pod/own", "pod", ""])
def test_a_control_group_with_a_limit_leaves_the_rest_of_it(
    version: tuple[str, ...], group: str, tmp_path: Path
) -> None:
    """Whether it is the process's own or one around it; what it holds of files can be given up."""
    own, mount, limit, taken, prefix = version
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": own,
        f"{mount}/{group}/{limit}": f"{8 * GIB}\n",
        f"{mount}/{group}/{taken}": f"{7 * GIB}\n",
        f"{mount}/{group}/memory.stat": (
            f"anon 1\n{prefix}inactive_file {GIB}\n{prefix}active_file {GIB}\n"
        ),
    }
    assert memory.available(system(tmp_path, files)) == 3 * GIB


def test_a_control_group_without_a_limit_leaves_what_the_system_has(tmp_path: Path) -> None:
    """Version 2 says "max"; version 1 a number beyond any memory."""
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": V2[0] + V1[0],
        "sys/fs/cgroup/pod/memory.max": "max\n",
        "sys/fs/cgroup/pod/memory.current": f"{40 * GIB}\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**63 - 4096}\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{40 * GIB}\n",
    }
    assert memory.available(system(tmp_path, files)) == 16 * GIB


def test_a_conversion_that_does_not_fit_is_refused_before_it_begins(
    small: sources.Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words say how much it takes, how much is there, and what to do; nothing is written."""
    monkeypatch.setattr(memory, "available", lambda _: GIB // 8)
    monkeypatch.delattr(tf2onnx.convert, "from_function")  # not reached
    with pytest.raises(ExportError) as refused:
        export(small, options(tmp_path / "models"))
    assert str(refused.value) == (
        f"converting {small.model.name} takes about 0.4 GiB of memory more, and 0.1 GiB are "
        "there; end other programs, raise the container's limit, add swap, or export it on a "
        "larger machine"
    )
    assert not [*(tmp_path / "models").iterdir()]


PEAK = """
import pathlib, re
import numpy as np
from crossrun_export import convert, inference, memory, sources
from crossrun_export.backend import keras
from crossrun_export.preprocessing import assume

own = pathlib.Path("/proc/self")

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", (own / "status").read_text())[1])

layers = keras.layers
model = keras.Sequential([
    keras.Input((8, 8, 3)), layers.Conv2D(1024, 3), layers.Conv2D(1024, 3, activation="relu"),
    layers.GlobalAveragePooling2D(), layers.Dense(8192), layers.Dense(1024),
    layers.Dense(4, activation="softmax"),
])
source = sources.Source(model, (), "random", "", assume(model, "0..1"))
pictures = np.zeros((4, 8, 8, 3), np.uint8)
inference.original_scores(source, pictures)
(own / "clear_refs").write_text("5")  # begins anew
before = peak()
inference.onnx_scores(source, convert.to_onnx(source, "uint8"), pictures)
of_all = sum(it.numpy().nbytes for it in model.weights)
of_kernels = sum(it.kernel.numpy().nbytes for it in model.layers[-3:])
print(peak() - before, memory.needed(of_all, of_kernels), of_all)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak")
def test_a_conversion_takes_no_more_memory_than_is_estimated() -> None:
    """Of a network of both kinds of weights, in a process of its own."""
    child = [sys.executable, "-c", PEAK]
    told = subprocess.run(child, check=True, capture_output=True, text=True).stdout
    peak, estimated, weights = map(int, told.split())
    assert weights < peak <= estimated
