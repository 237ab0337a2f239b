"""Pictures to a running server, labels and objects back."""
