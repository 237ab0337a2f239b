"""Several server processes on one port, kept in one state."""
