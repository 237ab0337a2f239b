"""The HTTP port: who comes in, how long they have, and what is packed; knows no models."""
