"""Counts, traces and logs requests."""
