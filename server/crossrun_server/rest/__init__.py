"""The server over HTTP: requests become the messages of gRPC, and go the way of calls."""
