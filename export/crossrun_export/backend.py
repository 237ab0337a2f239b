"""Keras on TensorFlow, quietly: import keras, tensorflow and tf2onnx from here, and only from here.

Keras reads its backend, and TensorFlow how much to log, once, when they are imported.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextmanager
def muted() -> Iterator[None]:
    """Let nothing be told on descriptor 2, where libraries in C++ write past any log level."""
    stderr = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a descriptor is wanted, no text
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


with muted():  # on some processors TensorFlow tells of oneDNN
    import keras
    import tensorflow
    import tf2onnx

logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # what fails is raised as well

__all__ = ["keras", "muted", "tensorflow", "tf2onnx"]
