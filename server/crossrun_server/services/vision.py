"""crossrun.v1.Vision: encoded pictures in, labels and boxes out.

Converts messages; the pictures themselves are the business of `vision`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from crossrun.v1 import vision_pb2 as pb
from crossrun.v1.vision_pb2_grpc import VisionServicer
from crossrun_server.errors import InvalidRequest
from crossrun_server.models.model import Model
from crossrun_server.models.repository import Repository
from crossrun_server.services.edge import Context
from crossrun_server.services.inference import deadline_of
from crossrun_server.vision import classifier, detector, pipeline
from crossrun_server.vision.boxes import Resize, Size
from crossrun_server.vision.classifier import ScoredClass
from crossrun_server.vision.detector import Detection, DetectOptions, Detector
from crossrun_server.vision.image_input import ImageInput
from crossrun_server.vision.picture_limits import PictureLimits
from crossrun_server.vision.pipeline import Prediction, Timings

DEFAULT_TOP_K = 5
RESIZE: dict[int, Resize | None] = {
    pb.RESIZE_UNSPECIFIED: None,
    pb.RESIZE_STRETCH: "stretch",
    pb.RESIZE_CROP: "crop",
    pb.RESIZE_LETTERBOX: "letterbox",
}


class VisionService(VisionServicer):
    """Answers for every image classifier and every detector of a repository."""

    def __init__(self, repository: Repository, limits: PictureLimits) -> None:
        self._repository = repository
        self._limits = limits

    async def Classify(self, request: pb.ClassifyRequest, context: Context) -> pb.ClassifyResponse:
        """Return the best classes of each picture."""
        await self._check(request.images)
        with self._find(request) as model:
            response = await _classify(model, request, deadline_of(context))
        _send_timings(context, response.timings)
        return response

    async def Detect(self, request: pb.DetectRequest, context: Context) -> pb.DetectResponse:
        """Return the objects in each picture."""
        await self._check(request.images)
        with self._find(request) as model:
            response = await _detect(model, request, deadline_of(context))
        _send_timings(context, response.timings)
        return response

    async def _check(self, images: Sequence[bytes]) -> None:
        self._limits.check_count(len(images))
        if len(images) > self._limits.unseen:
            await asyncio.to_thread(self._limits.check_pixels, images)

    def _find(self, request: pb.ClassifyRequest | pb.DetectRequest) -> Model:
        return self._repository.get(request.model or self._repository.only(), request.version)


async def _classify(
    model: Model, request: pb.ClassifyRequest, deadline: float | None
) -> pb.ClassifyResponse:
    how = classifier.describe(model)
    predictions, timings = await _predict(how.input, request, [how.output], deadline)
    found = how.classes(predictions, request.top_k or DEFAULT_TOP_K, request.min_score)
    return pb.ClassifyResponse(
        model=model.name,
        version=model.version,
        results=map(_classification, found),
        timings=_timings(timings),
    )


async def _detect(
    model: Model, request: pb.DetectRequest, deadline: float | None
) -> pb.DetectResponse:
    how = detector.describe(model)
    options = _options(request, how)
    thresholds = how.thresholds(options)
    predictions, timings = await _predict(
        how.input, request, how.outputs.names, deadline, thresholds
    )
    return pb.DetectResponse(
        model=model.name,
        version=model.version,
        results=[_detections(how.detections(p, options), p.view.picture) for p in predictions],
        timings=_timings(timings),
    )


async def _predict(
    input_: ImageInput,
    request: pb.ClassifyRequest | pb.DetectRequest,
    outputs: Sequence[str],
    deadline: float | None,
    options: Mapping[str, float] = MappingProxyType({}),
) -> tuple[list[Prediction], Timings]:
    if not request.images:
        raise InvalidRequest("images is empty, expected at least one JPEG or PNG")
    if request.resize not in RESIZE:
        raise InvalidRequest(f"resize is {request.resize}, expected a value of crossrun.v1.Resize")
    return await pipeline.predict(
        input_,
        request.images,
        resize=RESIZE[request.resize],
        outputs=outputs,
        deadline=deadline,
        options=options,
    )


def _options(request: pb.DetectRequest, how: Detector) -> DetectOptions:
    if request.HasField("max_detections") and request.max_detections == 0:
        raise InvalidRequest("max_detections is 0, expected 1 or more")
    return DetectOptions(
        min_score=_share(request, "min_score"),
        iou_threshold=_share(request, "iou_threshold"),
        max_detections=request.max_detections if request.HasField("max_detections") else None,
        classes=how.indices(request.labels),
    )


def _share(request: pb.DetectRequest, field: str) -> float | None:
    if not request.HasField(field):
        return None
    value: float = getattr(request, field)
    if not 0 <= value <= 1:
        raise InvalidRequest(f"{field} is {value:g}, expected 0 to 1")
    return value


def _classification(classes: Sequence[ScoredClass]) -> pb.Classification:
    return pb.Classification(
        classes=[pb.Class(index=c.index, label=c.label, score=c.score) for c in classes]
    )


def _detections(detections: Sequence[Detection], picture: Size) -> pb.Detections:
    return pb.Detections(
        detections=map(_detection, detections), width=picture.width, height=picture.height
    )


def _detection(detection: Detection) -> pb.Detection:
    ymin, xmin, ymax, xmax = detection.box
    return pb.Detection(
        index=detection.index,
        label=detection.label,
        score=detection.score,
        box=pb.Box(ymin=ymin, xmin=xmin, ymax=ymax, xmax=xmax),
    )


def _timings(timings: Timings) -> pb.Timings:
    return pb.Timings(
        decode_us=timings.decode_ns // 1000,
        queue_us=timings.queue_ns // 1000,
        compute_us=timings.compute_ns // 1000,
    )


def _send_timings(context: Context, timings: pb.Timings) -> None:
    """Send them in a header too, in milliseconds, as ModelInfer does; see `server_timing`."""
    parts = ("decode", "queue", "compute")
    text = ", ".join(f"{part};dur={getattr(timings, f'{part}_us') / 1e3:.3f}" for part in parts)
    context.set_trailing_metadata((("server-timing", text),))
