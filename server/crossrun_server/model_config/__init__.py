"""What config.pbtxt says about a model."""
