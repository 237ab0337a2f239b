"""Sends small requests that could hurt a server, and tells how long a neighbour waited meanwhile.

    .venv/bin/python bench/trust/hostile.py models/ --model small

Each front end gets each request on a fresh server. The table has how the request ended, the longest
wait of a neighbour who asks the model all the time, and the memory of the server before, at most
and two seconds later. The exit code is 1 if a request ended as the server's fault. Linux only.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from attacks import ATTACKS, Attack
from crossrun_bench.machine import machine
from crossrun_bench.processes.serving import Server, running, serve_command
from neighbour import neighbour

FRONTS = ("native", "python")
QUIET = 2.0  # seconds before and after a request
MB = 1e6
OURS = ("INTERNAL", "UNKNOWN")  # what no caller's mistake is
HEAD = (
    "| Front | Request | Ended | Longest wait of a neighbour (before), ms | Memory, MB |\n"
    "| --- | --- | --- | ---: | ---: |\n"
)


@dataclass(frozen=True)
class Outcome:
    """What one request did to one server."""

    front: str
    request: str
    ended: str
    calm: float  # the neighbour's longest wait before it; seconds
    longest: float  # and meanwhile
    refused: int  # calls of the neighbour
    before: float  # memory; MB
    most: float
    after: float


def main() -> None:
    """Try all requests on the front ends that were asked for, and print the table."""
    options = _options()
    outcomes = []
    sys.stdout.write(HEAD)
    for front in options.front.split(","):
        for name, attack in ATTACKS.items():
            outcomes.append(_tried(options, front, name, attack))
            sys.stdout.write(_row(outcomes[-1]) + "\n")
            sys.stdout.flush()
    if options.output:
        found = {"machine": asdict(machine.describe()), "outcomes": list(map(asdict, outcomes))}
        options.output.write_text(json.dumps(found, indent=1))
    if wrong := [one for one in outcomes if any(code in one.ended for code in OURS)]:
        sys.exit("\n".join(f"{one.front}, {one.request}: {one.ended}" for one in wrong))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--front", default=",".join(FRONTS))
    parser.add_argument("--output", type=Path, help="JSON with what the table has.")
    return parser.parse_args()


def _tried(options: argparse.Namespace, front: str, name: str, attack: Attack) -> Outcome:
    command = [*serve_command(options.models, options.model), "--front", front, "--shared-memory"]
    with (
        running("crossrun-serve", command) as server,
        neighbour(server.address, options.model) as waits,
    ):
        time.sleep(QUIET)
        calm, before = waits().longest, _memory(server)
        _forget_peak(server)
        ended = attack(server.address, options.model)
        meanwhile, most = waits(), _peak(server)
        time.sleep(QUIET)
        return Outcome(
            front=front,
            request=name,
            ended=ended,
            calm=calm,
            longest=meanwhile.longest,
            refused=meanwhile.refused,
            before=before,
            most=most,
            after=_memory(server),
        )


def _memory(server: Server) -> float:
    return float(psutil.Process(server.pid).memory_info().rss / MB)


def _forget_peak(server: Server) -> None:
    """Let the kernel count the peak anew. Source: proc(5), /proc/pid/clear_refs."""
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")


def _peak(server: Server) -> float:
    status = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    (line,) = [line for line in status if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / MB


def _row(found: Outcome) -> str:
    waits = f"{found.longest * 1e3:.0f} ({found.calm * 1e3:.0f})"
    memory = f"{found.before:.0f} → {found.most:.0f} → {found.after:.0f}"
    return f"| {found.front} | {found.request} | {found.ended} | {waits} | {memory} |"


if __name__ == "__main__":
    main()
