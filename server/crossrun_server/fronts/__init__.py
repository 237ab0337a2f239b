"""The front ends: HTTP/2 and gRPC on a port, in Rust where that is installed, or grpc.aio."""
