"""crossrun's server: ONNX models over gRPC on whatever execution provider the machine has."""
