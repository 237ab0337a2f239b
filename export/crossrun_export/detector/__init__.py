"""Object detection: a single-shot detector on MobileNet's features, from training to ONNX."""
