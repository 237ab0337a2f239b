"""What is known of requests: counted, traced, logged."""
