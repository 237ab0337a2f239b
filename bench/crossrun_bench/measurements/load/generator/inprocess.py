"""The process that shows what the machine can do: onnxruntime alone, called by some threads.

python -m crossrun_bench.measurements.load.generator.inprocess < {a Session}, then commands
{"do": "answer", "output": "….npy"}                      → {}
{"do": "turn", "clients": 2, "warm": 0.5, "seconds": 3}  → see `process`
"""

import sys
from typing import Any

import numpy as np
import onnxruntime
import psutil

from crossrun_bench.codec import decode
from crossrun_bench.measurements.load.generator import loops
from crossrun_bench.measurements.tasks import Session
from crossrun_bench.models.model import as_input
from crossrun_bench.processes.driven import Reply, commands, driven
from crossrun_bench.providers import CPU
from crossrun_bench.targets.sessions import options


def main() -> int:
    """Serve commands until stdin ends."""
    return driven(_serve)


def _serve(first_line: Any, reply: Reply) -> None:
    session = decode(Session, first_line)
    loaded_session = _session(session)
    names = [session.model.output_name]
    feed = {session.model.input_name: as_input(session.model, np.load(session.pixels))}

    def call() -> tuple[Any, str]:
        return loaded_session.run(names, feed), ""

    for command in commands():
        if command["do"] == "answer":
            np.save(command["output"], call()[0][0])
            reply({})
        else:
            found = loops.turn([call] * loops.callers(command), command)
            reply(found | {"rss_bytes": psutil.Process().memory_info().rss})


def _session(session: Session) -> Any:
    made = options()
    made.intra_op_num_threads = session.threads
    if session.spin_us is not None:
        made.add_session_config_entry("session.intra_op.spin_duration_us", str(session.spin_us))
    return onnxruntime.InferenceSession(session.model.onnx, made, providers=[CPU.name])


if __name__ == "__main__":
    sys.exit(main())
