"""gRPC: converts messages to arrays and back, and errors to status codes. Nothing else."""
