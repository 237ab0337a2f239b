"""Measures a served model, in speed and in answers, against the Keras model it came from."""
