"""gRPC: messages to arrays and back, errors to status codes. Nothing else."""
