"""Whether a model's answers are right: compared with the original's, and alone or in a batch."""
