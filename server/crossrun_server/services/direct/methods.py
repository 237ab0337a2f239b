"""The methods that threads answer, by their paths."""

from collections.abc import Mapping

from crossrun_server.access.gate import Gate
from crossrun_server.models.repository import Repository
from crossrun_server.scheduling.turns import Turns
from crossrun_server.services import vision
from crossrun_server.services.direct import infer
from crossrun_server.services.direct.call import Direct, Gated
from crossrun_server.services.direct.infer import DirectInfer
from crossrun_server.services.direct.vision import DirectVision
from crossrun_server.telemetry.failures import Failures
from crossrun_server.tensors.shared_memory import Regions
from crossrun_server.vision.picture_limits import PictureLimits


def direct(
    repository: Repository,
    regions: Regions,
    limits: PictureLimits,
    decoding: Turns,
    failures: Failures,
) -> dict[str, Direct]:
    """Return what answers calls on threads."""
    found: dict[str, Direct] = {infer.METHOD: DirectInfer(repository, regions, failures)}
    for path in vision.METHODS:
        found[path] = DirectVision(repository, path, limits, decoding, failures)
    return found


def gated(methods: Mapping[str, Direct], gate: Gate, failures: Failures) -> dict[str, Gated]:
    """Return what answers calls that the gate lets in."""
    return {path: Gated(gate, path, one, failures) for path, one in methods.items()}
