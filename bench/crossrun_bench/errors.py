"""The errors that users see: the command line prints one in a line, and ends with status 1."""


class BenchError(Exception):
    """Something that a user can fix; the text says what was wrong and what was expected."""
