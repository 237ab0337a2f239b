"""Sessions and execution providers: the only modules that know onnxruntime."""
