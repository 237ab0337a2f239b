"""crossrun's own services."""
