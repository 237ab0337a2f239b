"""What is known against the packages and crates that are locked, and a bill of materials of them.

Run by `make audit`. The bill is CycloneDX, in build/sbom/, and needs no network. What is known is
asked of the databases of pip-audit and of cargo-audit. Exit code: 0 if nothing is known, 1 if
something is, 2 if it could not be asked.
"""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

ROOT = Path(__file__).parents[1]
SBOM = ROOT / "build" / "sbom"
PACKAGES, CRATES = ROOT / "requirements.lock", ROOT / "server" / "front" / "Cargo.lock"
LOCKED = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)
PIP_AUDIT = "pip-audit==2.9.0"
FAULTY = "jinja2==2.4.1"  # if nothing is known against it, nobody has answered
NOTHING, SOMETHING, NOT_MEASURED = 0, 1, 2


def main(uv: str) -> int:
    """Write both bills, ask about both locks; `uv` is its command."""
    SBOM.mkdir(parents=True, exist_ok=True)
    write("python", [component("pypi", *pair) for pair in LOCKED.findall(PACKAGES.read_text())])
    crates = tomllib.loads(CRATES.read_text())["package"]
    write("rust", [component("cargo", one["name"], one["version"], one["checksum"])
                   for one in crates if "source" in one])  # fmt: skip
    return max(packages_known(uv), crates_known())


def write(name: str, components: list[dict[str, Any]]) -> None:
    """Write a bill of materials, and say what was written."""
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}
    file = SBOM / f"{name}.cdx.json"
    file.write_text(json.dumps(bill, indent=2) + "\n")
    out(f"{file.relative_to(ROOT)}: {len(components)} components")


def component(kind: str, name: str, version: str, sha256: str = "") -> dict[str, Any]:
    """Describe what is locked; a package has no hash, because it has a file for each platform."""
    purl = f"pkg:{kind}/{name}@{version}"
    described = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    hashes = {"hashes": [{"alg": "SHA-256", "content": sha256}]} if sha256 else {}
    return described | hashes


def packages_known(uv: str) -> int:
    """Ask pip-audit about the Python packages, and first about one that is known to have faults."""
    with NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(FAULTY)
        file.flush()
        canary, reason = asked(uv, "--no-deps", "--requirement", file.name)
    if not any(one.get("vulns") for one in canary):
        return not_measured("Python packages", reason or f"nothing is known against {FAULTY}")
    found, reason = asked(uv, "--require-hashes", "--requirement", str(PACKAGES))
    if skipped := [one["name"] for one in found if "skip_reason" in one]:
        reason = f"{len(skipped)} could not be asked about, such as {skipped[0]}"
    if reason or not found:
        return not_measured("Python packages", reason)
    known = [f"{one['name']} {one['version']}: {fault['id']}" for one in found
             for fault in one["vulns"]]  # fmt: skip
    return say("Python packages", len(found), known)


def asked(uv: str, *words: str) -> tuple[list[dict[str, Any]], str]:
    """Return what pip-audit says of each package, and why it says nothing."""
    done = run(tool(uv, PIP_AUDIT), "pip-audit", "--disable-pip", "--progress-spinner", "off",
               "--format", "json", *words)  # fmt: skip
    try:
        return json.loads(done.stdout)["dependencies"], ""
    except (ValueError, KeyError):
        return [], done.stderr


def crates_known() -> int:
    """Ask cargo-audit about the crates."""
    if not shutil.which("cargo-audit"):
        return not_measured("crates", "cargo-audit is missing: cargo install --locked cargo-audit")
    done = run(["cargo", "audit"], "--json", "--file", str(CRATES))
    try:
        found = json.loads(done.stdout)
        faults = found["vulnerabilities"]["list"]
    except (ValueError, KeyError):
        return not_measured("crates", done.stderr)
    known = [f"{one['package']['name']} {one['package']['version']}: {one['advisory']['id']}"
             for one in faults]  # fmt: skip
    return say("crates", found["lockfile"]["dependency-count"], known)


def say(what: str, count: int, known: list[str]) -> int:
    """Say what is known against so many things."""
    out(f"{what}: {count} asked about, {len(known)} known to be vulnerable")
    for one in known:
        out(f"  {one}")
    return SOMETHING if known else NOTHING


def not_measured(what: str, reason: str) -> int:
    """Say in a line that nothing could be asked."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()] or ["no reason is given"]
    out(f"{what}: not measured: {lines[-1]}")
    return NOT_MEASURED


def out(line: str) -> None:
    """Print a line."""
    sys.stdout.write(line + "\n")


def tool(uv: str, package: str) -> list[str]:
    """Begin a command that a package has; uv brings it along."""
    return [uv, "tool", "run", "--quiet", "--from", package]


def run(begin: list[str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run([*begin, *words], capture_output=True, text=True, check=False, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
