"""How requests wait, form batches, run, or are answered from the cache. Knows no gRPC."""
