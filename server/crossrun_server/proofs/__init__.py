"""Whether answers are right: beside the original's, and with or without neighbours in a run."""
