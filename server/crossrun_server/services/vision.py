"""crossrun.v1.Vision: encoded pictures in, labels and boxes out.

Converts messages; the pictures themselves are the business of `vision`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from crossrun.v1 import vision_pb2 as pb
from crossrun.v1.vision_pb2_grpc import VisionServicer
from crossrun_server.errors import InvalidRequest, UnknownModel
from crossrun_server.models.model import Model
from crossrun_server.models.repository import Repository
from crossrun_server.scheduling.turns import Turns
from crossrun_server.services import wire
from crossrun_server.services.edge import Context, traceparent
from crossrun_server.services.inference import deadline_of
from crossrun_server.telemetry.request_record import Origin
from crossrun_server.vision import classifier, detector, pipeline
from crossrun_server.vision.boxes import Resize, Size
from crossrun_server.vision.classifier import ScoredClass
from crossrun_server.vision.detector import Detection, DetectOptions, Detector
from crossrun_server.vision.image_input import ImageInput
from crossrun_server.vision.picture_limits import PictureLimits
from crossrun_server.vision.pipeline import Pictures, Prediction, Timings
from crossrun_server.vision.tiles import MOST_OVERLAP, OVERLAP, WHOLE, Tiles

Request = pb.ClassifyRequest | pb.DetectRequest
Response = pb.ClassifyResponse | pb.DetectResponse
DEFAULT_TOP_K = 5
RESIZE: dict[int, Resize | None] = {
    pb.RESIZE_UNSPECIFIED: None,
    pb.RESIZE_STRETCH: "stretch",
    pb.RESIZE_CROP: "crop",
    pb.RESIZE_LETTERBOX: "letterbox",
}


# Type of a request → what finds out how a model does it, or raises InvalidRequest, and the verb.
TASKS: dict[type[Request], tuple[Callable[[Model], object], str]] = {
    pb.ClassifyRequest: (classifier.describe, "classify pictures"),
    pb.DetectRequest: (detector.describe, "detect objects"),
}


class AskedPictures(NamedTuple):
    """What a request asks for, read from its message."""

    pictures: Pictures
    respond: Callable[[Sequence[Prediction], Timings], Response]


class VisionService(VisionServicer):
    """Answers for every image classifier and every detector of a repository."""

    def __init__(self, repository: Repository, limits: PictureLimits, decoding: Turns) -> None:
        self._repository = repository
        self._limits = limits
        self._decoding = decoding

    async def Classify(self, request: pb.ClassifyRequest, context: Context) -> Response:
        """Return the best classes of each picture."""
        return await self._answer(read_classify, request, context)

    async def Detect(self, request: pb.DetectRequest, context: Context) -> Response:
        """Return the objects in each picture."""
        return await self._answer(read_detect, request, context)

    async def _answer(
        self, read: Callable[[Model, Any], AskedPictures], request: Request, context: Context
    ) -> Response:
        await self._check(request)
        with find(self._repository, request) as model:
            asked = read(model, request)
            origin = Origin(traceparent=traceparent(context))
            deadline, connection = deadline_of(context), context.peer()
            predictions, timings = await pipeline.predict(
                asked.pictures, self._decoding, deadline, connection, origin
            )
            response = asked.respond(predictions, timings)
        context.set_trailing_metadata((("server-timing", timing_text(timings)),))
        return response

    async def _check(self, request: Request) -> None:
        images, cut = request.images, tiles_of(request)
        self._limits.check_count(len(images), cut)
        if self._limits.may_be_too_large(len(images), cut):
            await asyncio.to_thread(self._limits.check_pixels, images, cut)


def find(repository: Repository, request: Request) -> Model:
    """Return the model that a request asks; without a name the only one that can do it.

    Raises:
        UnknownModel, ModelUnavailable: see Repository.get; or none is named, and not just one fits.
    """
    name = request.model or _only(request, repository.each(request.version)).name
    return repository.get(name, request.version)


def _only(request: Request, loaded: Sequence[Model]) -> Model:
    """Choose among several models; a single one says best itself why it does not fit."""
    describe, does = TASKS[type(request)]
    fit = loaded if len(loaded) == 1 else [one for one in loaded if fits(describe, one)]
    if len(fit) == 1:
        return fit[0]
    which = f" of version {request.version!r}" if request.version else ""
    if not loaded:
        raise UnknownModel(f"the request names no model, and none{which} is loaded")
    there = f"several{which} {does}" if fit else f"none of these{which} {does}"
    names = ", ".join(one.name for one in fit or loaded)
    raise UnknownModel(f"the request names no model, and {there}: {names}")


def fits(describe: Callable[[Model], object], model: Model) -> bool:
    """Whether a model can do what is found out of it."""
    try:
        describe(model)
    except InvalidRequest:
        return False
    return True


def tiles_of(request: Request) -> Tiles:
    """Return the tiles into which a request has its pictures cut.

    Raises:
        InvalidRequest: there are no such tiles.
    """
    if isinstance(request, pb.ClassifyRequest) or not request.HasField("tiles"):
        return WHOLE
    asked = request.tiles
    if not asked.columns or not asked.rows:
        told = f"{asked.columns} columns and {asked.rows} rows"
        raise InvalidRequest(f"tiles has {told}, expected at least one of each")
    overlap = asked.overlap if asked.HasField("overlap") else OVERLAP
    if not 0 <= overlap <= MOST_OVERLAP:
        raise InvalidRequest(f"tiles.overlap is {overlap:g}, expected 0 to {MOST_OVERLAP:g}")
    return Tiles(asked.columns, asked.rows, overlap)


def read_classify(model: Model, request: pb.ClassifyRequest) -> AskedPictures:
    """Read a request for classes.

    Raises:
        InvalidRequest: the model or the request is not fit for it.
    """
    how = classifier.describe(model)

    def respond(predictions: Sequence[Prediction], timings: Timings) -> pb.ClassifyResponse:
        found = how.classes(predictions, request.top_k or DEFAULT_TOP_K, request.min_score)
        return pb.ClassifyResponse(
            model=model.name,
            version=model.version,
            results=map(_classification, found),
            timings=_timings(timings),
        )

    return AskedPictures(_pictures(how.input, request, [how.output]), respond)


def read_detect(model: Model, request: pb.DetectRequest) -> AskedPictures:
    """Read a request for objects.

    Raises:
        InvalidRequest: the model or the request is not fit for it.
    """
    how = detector.describe(model)
    options = _options(request, how)

    def respond(predictions: Sequence[Prediction], timings: Timings) -> pb.DetectResponse:
        each = options.tiles.looks
        looks = (predictions[i : i + each] for i in range(0, len(predictions), each))
        found = ((how.detections(one, options), one[0].view.picture) for one in looks)
        return pb.DetectResponse(
            model=model.name,
            version=model.version,
            results=[_detections(*one) for one in found],
            timings=_timings(timings),
        )

    pictures = _pictures(how.input, request, how.outputs.names, how.thresholds(options))
    return AskedPictures(replace(pictures, tiles=options.tiles), respond)


# Path → what makes a request of its bytes, and what reads it.
METHODS: dict[str, tuple[Callable[[wire.Data], Any], Callable[[Model, Any], AskedPictures]]] = {
    "/crossrun.v1.Vision/Classify": (wire.reader(pb.ClassifyRequest), read_classify),
    "/crossrun.v1.Vision/Detect": (wire.reader(pb.DetectRequest), read_detect),
}


def _pictures(
    input_: ImageInput,
    request: Request,
    outputs: Sequence[str],
    options: Mapping[str, float] = MappingProxyType({}),
) -> Pictures:
    if not request.images:
        raise InvalidRequest("images is empty, expected at least one JPEG or PNG")
    if request.resize not in RESIZE:
        raise InvalidRequest(f"resize is {request.resize}, expected a value of crossrun.v1.Resize")
    return Pictures(input_, request.images, RESIZE[request.resize], outputs, options)


def _options(request: pb.DetectRequest, how: Detector) -> DetectOptions:
    if request.HasField("max_detections") and request.max_detections == 0:
        raise InvalidRequest("max_detections is 0, expected 1 or more")
    least = _share(request, "min_score")
    return DetectOptions(
        min_score=how.outputs.min_score if least is None else least,
        iou_threshold=_share(request, "iou_threshold"),
        max_detections=request.max_detections if request.HasField("max_detections") else None,
        classes=how.indices(request.labels),
        tiles=tiles_of(request),
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


def timing_text(timings: Timings) -> str:
    """Say where the time went in a header, too, as ModelInfer does; see `server_timing`."""
    whole = _timings(timings)
    parts = ("decode", "queue", "compute")
    return ", ".join(f"{part};dur={getattr(whole, f'{part}_us') / 1e3:.3f}" for part in parts)
