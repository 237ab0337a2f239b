"""Encoded pictures in, labels and boxes out. Knows no gRPC."""
