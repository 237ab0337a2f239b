"""Results as a reader sees them: on the terminal, as Markdown, as one HTML page."""
