"""How requests wait, form batches and run. Knows no gRPC and no onnxruntime."""
