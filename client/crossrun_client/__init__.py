"""The command that operates a server, over gRPC: knows the stubs, and no server from inside."""
