"""What can go wrong while serving. Knows no gRPC: services/edge.py makes status codes of these."""


class ServingError(Exception):
    """A failure whose message may be shown to the caller."""


class InvalidRequest(ServingError):  # noqa: N818 - named after what happened, as the others
    """The request cannot be answered as it stands; the message names what was expected."""


class NotSupported(ServingError):  # noqa: N818
    """What is asked for exists in the protocol, but not here."""


class UnknownModel(ServingError):  # noqa: N818
    """No such model, or no such version of it."""


class ModelUnavailable(ServingError):  # noqa: N818
    """The model is known but takes no requests now: not loaded, or draining."""


class ControlRefused(ServingError):  # noqa: N818
    """Loading and unloading on request are not allowed as the server was started."""


class QueueFull(ServingError):  # noqa: N818
    """The model's queue holds as many requests as it may."""


class DeadlineExceeded(ServingError):  # noqa: N818
    """The caller's deadline passed before the answer was there."""


class LoadError(ServingError):
    """A model cannot be loaded; the message says which and why."""


class UnknownRegion(ServingError):  # noqa: N818
    """No such shared memory region, or no such shared memory object."""


class RegionExists(ServingError):  # noqa: N818
    """A shared memory region of that name is registered already."""


class NotEnabled(ServingError):  # noqa: N818
    """The server was started without what was asked for; the message names the option."""


class PollError(LoadError):
    """What a model was to be loaded from is not there or cannot be read."""


class NoNumber(ServingError):  # noqa: N818
    """A model gave scores or boxes that are no numbers: they are above no limit and below none."""


class WrongLabels(ServingError):  # noqa: N818
    """A model gave a class for which its labels have no name: they are those of other classes."""
