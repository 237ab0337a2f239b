"""Plans of the lanes that run a model: measured, and kept for the next start."""
