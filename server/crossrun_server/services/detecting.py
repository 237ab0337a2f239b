"""crossrun.v1.Vision/Detect: what a request wants to be told of, and what was found as messages."""

from crossrun.v1 import vision_pb2 as pb
from crossrun_server.errors import InvalidRequest
from crossrun_server.models.model import Model
from crossrun_server.services.pictures import Answer, ask
from crossrun_server.vision import detector
from crossrun_server.vision.detector import Detector, Found, Wanted


async def detect(
    model: Model, request: pb.DetectRequest, deadline: float | None
) -> pb.DetectResponse:
    """Find the objects in each picture.

    Raises:
        InvalidRequest: the model finds none, or the request wants what cannot be.
        ServingError: see Model.infer.
    """
    how = detector.describe(model)
    wanted = _wanted(request, how)
    options = how.thresholds(wanted)
    answer = await ask(how.input, request, how.output.names, deadline, options)
    return pb.DetectResponse(
        model=model.name,
        version=model.version,
        results=_results(how, answer, wanted),
        timings=answer.timings,
    )


def _wanted(request: pb.DetectRequest, how: Detector) -> Wanted:
    if request.HasField("max_detections") and request.max_detections == 0:
        raise InvalidRequest("max_detections is 0, expected 1 or more")
    return Wanted(
        _share(request, "min_score"),
        _share(request, "iou_threshold"),
        request.max_detections if request.HasField("max_detections") else None,
        how.indices(request.labels),
    )


def _share(request: pb.DetectRequest, field: str) -> float | None:
    if not request.HasField(field):
        return None
    value: float = getattr(request, field)
    if not 0 <= value <= 1:
        raise InvalidRequest(f"{field} is {value:g}, expected 0 to 1")
    return value


def _results(how: Detector, answer: Answer, wanted: Wanted) -> list[pb.Detections]:
    return [
        pb.Detections(
            detections=[
                _message(how, one) for one in how.found(seen.outputs, seen.row, seen.view, wanted)
            ],
            width=seen.view.picture.width,
            height=seen.view.picture.height,
        )
        for seen in answer.seen
    ]


def _message(how: Detector, found: Found) -> pb.Detection:
    ymin, xmin, ymax, xmax = found.box
    return pb.Detection(
        index=found.index,
        label=how.input.model.label(how.output.classes, found.index),
        score=found.score,
        box=pb.Box(ymin=ymin, xmin=xmin, ymax=ymax, xmax=xmax),
    )
