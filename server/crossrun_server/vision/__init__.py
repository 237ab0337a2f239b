"""Encoded pictures in, classes and boxes out. Knows no gRPC."""
