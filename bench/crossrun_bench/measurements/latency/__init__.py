"""How long each target takes for the same pictures, side by side."""
