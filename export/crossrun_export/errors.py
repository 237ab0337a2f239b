"""What can go wrong in an export."""


class ExportError(Exception):
    """A failure that the message explains in one line; nothing was written."""
