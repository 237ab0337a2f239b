"""The page at /: plain files that ask the server by its own REST. Knows no model."""
