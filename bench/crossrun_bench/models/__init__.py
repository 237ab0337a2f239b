"""What measurers know of a model, read from its repository."""
