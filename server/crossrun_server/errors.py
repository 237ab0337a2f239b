"""What can go wrong while serving. Knows no gRPC: services/edge.py makes status codes of these."""


class ServingError(Exception):
    """A failure whose message may be shown to the caller."""


class InvalidRequest(ServingError):  # noqa: N818 - named after what happened, as the others
    """The request cannot be answered; the message names what was expected."""


class NotSupported(ServingError):  # noqa: N818
    """The protocol has what is asked for, but this server does not."""


class UnknownModel(ServingError):  # noqa: N818
    """No such model, or no such version of it."""


class ModelUnavailable(ServingError):  # noqa: N818
    """The model is known, but takes no requests now: it is not loaded, or it is draining."""


class ControlRefused(ServingError):  # noqa: N818
    """The server was started without permission to load and unload models on request."""


class QueueFull(ServingError):  # noqa: N818
    """A request would have to wait, and there are as many that do as there may be.

    Args:
        message: for the caller.
        retry_after: seconds after which those who wait now are expected to have had their turn.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class WaitTooLong(QueueFull):
    """By what was measured, a request would have to wait longer than it may."""


class TooMany(ServingError):  # noqa: N818
    """The server holds as many of what a client asks for as it may; the message says of what."""


class DeadlineExceeded(ServingError):  # noqa: N818
    """The caller's deadline passed before the answer was there, or leaves no time for a run."""


class LoadError(ServingError):
    """A model cannot be loaded; the message says which and why."""


class UnknownRegion(ServingError):  # noqa: N818
    """No such shared memory region, or no such shared memory object."""


class RegionExists(ServingError):  # noqa: N818
    """A shared memory region of that name is registered already."""


class NotEnabled(ServingError):  # noqa: N818
    """The server was started without what was asked for; the message names the option."""


class PollError(LoadError):
    """The files that a model is loaded from are missing or cannot be read."""


class Unauthenticated(ServingError):  # noqa: N818
    """Nobody knows who calls; the message says what was expected."""


class Forbidden(ServingError):  # noqa: N818
    """The caller may not do this; the message says what is missing."""


class NoNumber(ServingError):  # noqa: N818
    """A model returned NaN among scores or boxes, which no limit can be compared with."""


class WrongLabels(ServingError):  # noqa: N818
    """A model returned a class without a label, so its labels belong to other classes."""
