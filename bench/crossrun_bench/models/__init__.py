"""What the bench knows about a model, read from its repository."""
