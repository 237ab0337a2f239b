"""Rows a second by batch size, provider by provider."""
