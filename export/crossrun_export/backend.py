"""Keras on TensorFlow, quietly: import keras, tensorflow and tf2onnx from here, and only from here.

Keras reads its backend, and TensorFlow how much to log, once, when they are imported.
"""

import logging
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow
import tf2onnx

logging.getLogger("tf2onnx").setLevel(logging.ERROR)

__all__ = ["keras", "tensorflow", "tf2onnx"]
