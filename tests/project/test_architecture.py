"""The rules of the folders hold, and a module that breaks a rule is caught without a list."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

from docs import imports
from tests.support.running import ROOT

PACKAGES = ("proto/crossrun", "export/crossrun_export", "client/crossrun_client", *imports.AREAS)
MOST = 16  # modules of a folder

# A contract → the modules that break it, and their text.
STRAYS = {
    "The areas meet in the .proto and in the model repository only": {
        "crossrun_bench/client/stray_area.py": "from crossrun_server import errors",
        "crossrun/stray_stub.py": "import crossrun_export",
    },
    "The export knows no wire": {
        "crossrun_export/stray_wire.py": "import grpc",
    },
    "Inside the server a request flows one way": {
        "crossrun_server/models/stray_upward.py": "from crossrun_server.services import edge",
        "crossrun_server/stray_layer.py": "",
    },
    "The bench shows and compares what it measures with tools that know nothing of it": {
        "crossrun_bench/client/stray_upward.py": "from crossrun_bench import suite",
        "crossrun_bench/stray_layer.py": "",
    },
    "A measurement stands alone, on what all of them share": {
        "crossrun_bench/measurements/latency/stray_sibling.py": (
            "from crossrun_bench.measurements.load import result"
        ),
        "crossrun_bench/measurements/stray_measurement.py": "",
    },
    "The report and compare know a measurement by its kind only": {
        "crossrun_bench/report/stray_ladder.py": (
            "from crossrun_bench.measurements.latency import result"
        ),
    },
    "No TensorFlow in the server": {
        "crossrun_server/models/stray_keras.py": "import tensorflow",
    },
    "Inside the server a library only where it is at home": {
        "crossrun_server/models/stray_grpc.py": "import grpc",
        "crossrun_server/services/stray_front.py": "import crossrun_front",
        "crossrun_server/services/stray_http.py": "import starlette",
        "crossrun_server/vision/stray_session.py": "import onnxruntime",
        "crossrun_server/services/stray_codec.py": "from PIL import Image",
    },
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages and the contracts, to be changed at will."""
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / Path(package).name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def contracts(folder: Path) -> tuple[dict[str, bool], str]:
    """Check a copy: which contracts are kept, and what is said of the others."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"},  # else names are wrapped
        capture_output=True,
        text=True,
        check=False,
    )
    told = re.findall(r"^(.+) (KEPT|BROKEN)\b", done.stdout, re.MULTILINE)
    assert told, done.stdout + done.stderr
    return {name: verdict == "KEPT" for name, verdict in told}, done.stdout


def strays(text: str, names: Iterable[str]) -> dict[str, set[str]]:
    """Which stray modules are named under the headline of each contract."""
    headlines = "|".join(map(re.escape, names))
    _, *sections = re.split(rf"^({headlines})\n-+\n", text, flags=re.MULTILINE)
    return {
        name: set(re.findall(r"\bstray_\w+", said))
        for name, said in zip(sections[::2], sections[1::2], strict=True)
    }


def test_every_contract_is_kept(copy: Path) -> None:
    """Every contract is kept, and tried by a stray module below."""
    assert contracts(copy)[0] == dict.fromkeys(STRAYS, True)


def test_a_module_that_nobody_listed_breaks_its_contract(copy: Path) -> None:
    """Each stray module breaks the contract that it violates, and no other."""
    for modules in STRAYS.values():
        for path, text in modules.items():
            (copy / path).write_text(f"{text}\n")
    kept, told = contracts(copy)
    assert not any(kept.values())
    expected = {name: {Path(path).stem for path in paths} for name, paths in STRAYS.items()}
    assert strays(told, STRAYS) == expected


@pytest.mark.parametrize(
    "package", ["crossrun_export", "crossrun_server", "crossrun_client", "crossrun_bench"]
)
def test_modules_do_not_import_each_other_in_a_circle(package: str) -> None:
    """No modules of an area import each other in a circle."""
    graph = grimp.build_graph(package, cache_dir=None)
    found = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(found).prepare()


@pytest.mark.parametrize("area", ["server", "bench"])
def test_no_folder_holds_more_modules_than_one_can_survey(area: str) -> None:
    """No folder of the server or of the bench has more than 16 modules."""
    modules = [path for path in (ROOT / area).rglob("*.py") if path.name != "__init__.py"]
    sizes = Counter(str(module.parent) for module in modules)
    assert {folder: size for folder, size in sizes.items() if size > MOST} == {}


def test_the_map_of_imports_is_up_to_date() -> None:
    """The page has the map that `.venv/bin/python docs/imports.py` draws."""
    page = imports.PAGE.read_text(encoding="utf-8")
    assert imports.drawn(page) == page
