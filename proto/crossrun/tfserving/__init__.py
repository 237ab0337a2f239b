"""The part of TensorFlow Serving's wire that a client of one model needs."""
