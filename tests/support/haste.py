"""In what the tests' servers differ from others, so that tests do not wait for them."""

import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
# A worker is no fork, for the supervisor starts it.
WORKER = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from {__name__} import hasten; hasten(); "
    "from crossrun_server.workers.worker import main; main()"
)
# What a server looks at less often, or measures longer, than tests have time for.
HASTE = {
    "plans.steady.DISTURBED": 1.0,  # keep a plan that was measured beside other tests
    "plans.core_distance.nanoseconds": lambda: None,  # or while a host moved the cores
    "plans.search.SECONDS": 0.03,
    "plans.spinning.SECONDS": 0.1,
    "plans.race.SECONDS": 0.2,
    "fronts.certificates.INTERVAL": 0.1,
    "access.tokens.LOOK": 0.1,
    "telemetry.metrics.LOOK": 0.02,
    "workers.supervisor.COMMAND": (sys.executable, "-P", "-c", WORKER),
}


def hasten() -> None:
    """Let the server of this process be as HASTE says."""
    for path, value in HASTE.items():
        module, _, name = path.rpartition(".")
        setattr(import_module(f"crossrun_server.{module}"), name, value)
