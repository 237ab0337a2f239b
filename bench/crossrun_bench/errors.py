"""What goes wrong, in one line: the command line prints it and ends with a status other than 0."""


class BenchError(Exception):
    """Something a user can mend; the text names what was wrong and what was expected."""
