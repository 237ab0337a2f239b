"""Tensors as the Open Inference Protocol defines them."""
