"""TensorFlow Serving's services, so that its clients work unchanged. Converts messages only."""
