"""Sessions whose runs fail while a file is there, as those of a card that has stopped working.

Goes by the name sitecustomize on the PYTHONPATH of a child, which finds the file's path in FAILING.
"""

import os
from pathlib import Path
from typing import Any

import onnxruntime

FILE = Path(os.environ["FAILING"])
RUN = onnxruntime.InferenceSession.run


def _run(session: Any, *arguments: Any) -> Any:
    if FILE.exists():
        raise RuntimeError("the card has stopped")
    return RUN(session, *arguments)


onnxruntime.InferenceSession.run = _run
