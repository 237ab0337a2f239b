"""crossrun's export: a Keras model to ONNX, proven equal, into a model repository."""
