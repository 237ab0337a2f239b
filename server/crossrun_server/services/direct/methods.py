"""The methods that threads answer, by their paths."""

from crossrun_server import cores
from crossrun_server.access.gate import Gate
from crossrun_server.models.repository import Repository
from crossrun_server.scheduling.turns import Turns
from crossrun_server.services import vision
from crossrun_server.services.direct import infer
from crossrun_server.services.direct.call import Direct, Gated
from crossrun_server.services.direct.infer import DirectInfer
from crossrun_server.services.direct.vision import DirectVision
from crossrun_server.tensors.shared_memory import Regions
from crossrun_server.vision.picture_limits import PictureLimits


def direct(
    repository: Repository, regions: Regions, limits: PictureLimits, gate: Gate
) -> dict[str, Gated]:
    """Return what answers calls on threads, if the gate lets them in."""
    # As many pictures at once as cores; two at least, since a model may run elsewhere.
    turns = Turns(max(2, cores.available()))
    found: dict[str, Direct] = {infer.METHOD: DirectInfer(repository, regions)}
    for path in vision.METHODS:
        found[path] = DirectVision(repository, path, limits, turns)
    return {path: Gated(gate, path, one) for path, one in found.items()}
