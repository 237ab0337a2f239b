"""The methods that threads answer, by their paths."""

from crossrun_server import cores
from crossrun_server.models.repository import Repository
from crossrun_server.scheduling.turns import Turns
from crossrun_server.services import vision
from crossrun_server.services.direct import infer
from crossrun_server.services.direct.call import Direct
from crossrun_server.services.direct.infer import DirectInfer
from crossrun_server.services.direct.vision import DirectVision
from crossrun_server.telemetry.failures import Failures
from crossrun_server.tensors.shared_memory import Regions
from crossrun_server.vision.picture_limits import PictureLimits


def direct(
    repository: Repository, regions: Regions, limits: PictureLimits, failures: Failures
) -> dict[str, Direct]:
    """Return what answers calls on threads."""
    # As many pictures at once as cores; two at least, since a model may run elsewhere.
    turns = Turns(max(2, cores.available()))
    pictures = {
        path: DirectVision(repository, path, limits, turns, failures) for path in vision.METHODS
    }
    return {infer.METHOD: DirectInfer(repository, regions, failures), **pictures}
