"""`make audit`: bills of materials without a network, and no clean bill if nobody has answered."""

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.running import ROOT

CLEAN = {"dependencies": [{"name": "numpy", "version": "2.0", "vulns": []}]}
FAULTY = {"dependencies": [{"name": "numpy", "version": "2.0", "vulns": [{"id": "PYSEC-1"}]}]}
SKIPPED = {"dependencies": [{"name": "numpy", "skip_reason": "not found"}]}


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program as a module, which writes elsewhere and finds no cargo-audit."""
    spec = importlib.util.spec_from_file_location("audit_", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SBOM", tmp_path)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    return module


def uv(folder: Path, *answers: Any) -> str:
    """A stand-in for uv, whose pip-audit gives these answers, one after the other."""
    file = folder / "uv"
    (folder / "answers").write_text(json.dumps([json.dumps(one) for one in answers]))
    file.write_text(
        f"#!{sys.executable}\n"
        "import json, pathlib\n"
        f"left = pathlib.Path({str(folder / 'answers')!r})\n"
        "first, *others = json.loads(left.read_text()) or ['']\n"
        "left.write_text(json.dumps(others))\n"
        "print(first)\n"
    )
    file.chmod(0o755)
    return str(file)


def test_the_bills_have_all_that_is_locked(audit: Any, tmp_path: Path) -> None:
    """Each package and each crate, by its name and version."""
    audit.main(uv(tmp_path))
    packages = re.findall(r"^(\S+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    crates = (ROOT / "server" / "front" / "Cargo.lock").read_text().count("\nchecksum = ")
    bills = [json.loads((tmp_path / f"{name}.cdx.json").read_text()) for name in ("python", "rust")]
    python, rust = (bill["components"] for bill in bills)
    assert [(one["name"], one["version"]) for one in python] == packages
    assert len(rust) == crates
    assert {one["purl"].partition("/")[0] for one in rust} == {"pkg:cargo"}


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        ([FAULTY, CLEAN], 0, "Python packages: 1 asked about, 0 known to be vulnerable"),
        ([FAULTY, FAULTY], 1, "Python packages: 1 asked about, 1 known to be vulnerable"),
        ([], 2, "Python packages: not measured: "),
        ([CLEAN, CLEAN], 2, "Python packages: not measured: nothing is known against jinja2"),
        ([SKIPPED, CLEAN], 2, "Python packages: not measured: nothing is known against jinja2"),
        ([FAULTY, SKIPPED], 2, "not measured: 1 could not be asked about, such as numpy"),
        ([FAULTY], 2, "Python packages: not measured: "),
    ],
)
def test_nothing_is_said_to_be_clean_that_was_not_asked(
    answers: list[Any], code: int, said: str, audit: Any, tmp_path: Path
) -> None:
    """A database that knows nothing of a package with known faults has not answered."""
    lines: list[str] = []
    audit.out = lines.append
    assert audit.packages_known(uv(tmp_path, *answers)) == code
    assert said in lines[0]
    assert audit.crates_known() == 2
