"""crossrun's export: a Keras model to ONNX, proven equal, into a model repository."""

import os

# onnxruntime reports its use to its maker unless it is told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
