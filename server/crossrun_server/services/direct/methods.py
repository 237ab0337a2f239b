"""The methods that threads answer, by their paths."""

from crossrun_server.models.repository import Repository
from crossrun_server.scheduling.turns import Turns
from crossrun_server.services import vision
from crossrun_server.services.direct import infer
from crossrun_server.services.direct.call import Direct
from crossrun_server.services.direct.infer import DirectInfer
from crossrun_server.services.direct.vision import DirectVision
from crossrun_server.tensors.shared_memory import Regions
from crossrun_server.vision.picture_limits import PictureLimits


def direct(
    repository: Repository, regions: Regions, limits: PictureLimits, decoding: Turns
) -> dict[str, Direct]:
    """Return what answers calls on threads."""
    pictures = {path: DirectVision(repository, path, limits, decoding) for path in vision.METHODS}
    return {infer.METHOD: DirectInfer(repository, regions), **pictures}
