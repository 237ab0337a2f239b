"""Several server processes on one port, kept in the same state."""
