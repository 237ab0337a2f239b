"""Answers of all targets to the same pictures, against the original's."""
