"""Servers under load, ours and others, beside onnxruntime alone."""
