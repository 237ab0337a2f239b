"""The road to a model's sessions. Knows no gRPC and no onnxruntime."""
