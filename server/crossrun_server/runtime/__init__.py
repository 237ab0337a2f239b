"""The only rooms that know onnxruntime: sessions and execution providers."""
