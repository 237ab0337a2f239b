"""Measures a served model, in speed and in answers, against the model it came from."""

import os

# onnxruntime reports its use to its maker unless it is told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
