"""TensorFlow Serving's REST, which is KServe's first protocol, too: the paths below /v1/models."""

from starlette.routing import Route

from crossrun_server.rest.calls import Calls
from crossrun_server.rest.predict import predicting, status

PATHS = {**predicting.PATHS, **status.PATHS}


def routes(calls: Calls) -> list[Route]:
    """Return all routes of the protocol."""
    return [*predicting.routes(calls), *status.routes(calls)]
