"""Which sessions run a model: found by measurement, kept for the next start."""
