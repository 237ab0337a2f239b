"""Videos and a camera to a running server, objects back."""
