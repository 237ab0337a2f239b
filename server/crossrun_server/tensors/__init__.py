"""Tensors as the Open Inference Protocol knows them."""
