"""crossrun's server: ONNX models over gRPC on whatever execution provider the machine has."""

import os

# onnxruntime reports its use to its maker unless it is told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
