"""What config.pbtxt says of a model."""
