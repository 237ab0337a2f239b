"""Exports models that Keras did not make: SavedModels, LiteRT files and ONNX files."""
