"""Pictures to measure with."""
