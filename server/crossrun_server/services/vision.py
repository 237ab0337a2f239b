"""crossrun.v1.Vision: encoded pictures in, labels out."""

import asyncio
import time
from collections.abc import Sequence

import numpy as np

from crossrun.v1 import vision_pb2 as pb
from crossrun.v1.vision_pb2_grpc import VisionServicer
from crossrun_server import images
from crossrun_server.classifier import Classifier, best, describe
from crossrun_server.errors import InvalidRequest
from crossrun_server.model import Model
from crossrun_server.repository import Repository
from crossrun_server.scheduler import Reply
from crossrun_server.services.edge import Context
from crossrun_server.services.inference import deadline_of

RESIZE: dict[int, images.Resize] = {pb.RESIZE_STRETCH: "stretch", pb.RESIZE_CROP: "crop"}
DEFAULT_TOP_K = 5


class VisionService(VisionServicer):
    """Answers for every image classifier of a repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def Classify(self, request: pb.ClassifyRequest, context: Context) -> pb.ClassifyResponse:
        """Name what each picture shows."""
        name = request.model or self._repository.only()
        with self._repository.get(name, request.version) as model:
            response = await _classify(model, request, deadline_of(context))
        context.set_trailing_metadata((("server-timing", _server_timing(response.timings)),))
        return response


async def _classify(
    model: Model, request: pb.ClassifyRequest, deadline: float | None
) -> pb.ClassifyResponse:
    classifier = describe(model)
    resize = _resize(request, classifier)
    started = time.perf_counter_ns()
    pictures = await _decode(request.images, *classifier.size, resize)
    decode_ns = time.perf_counter_ns() - started
    replies = await _infer(classifier, pictures, deadline)
    return pb.ClassifyResponse(
        model=model.name,
        version=model.version,
        results=_results(classifier, replies, request),
        timings=_timings(decode_ns, replies),
    )


def _resize(request: pb.ClassifyRequest, classifier: Classifier) -> images.Resize:
    if not request.images:
        raise InvalidRequest("images is empty, expected at least one JPEG or PNG")
    if request.resize == pb.RESIZE_UNSPECIFIED:
        return classifier.resize
    if request.resize not in RESIZE:
        raise InvalidRequest(f"resize is {request.resize}, expected a value of crossrun.v1.Resize")
    return RESIZE[request.resize]


async def _decode(
    encoded: Sequence[bytes], height: int, width: int, resize: images.Resize
) -> list[images.Pixels]:
    """Decode on threads: Pillow lets go of the interpreter while it works."""

    def load(position: int) -> images.Pixels:
        try:
            return images.load(encoded[position], height, width, resize)
        except InvalidRequest as error:
            raise InvalidRequest(f"images[{position}]: {error}") from error

    return await asyncio.gather(*(asyncio.to_thread(load, i) for i in range(len(encoded))))


async def _infer(
    classifier: Classifier, pictures: list[images.Pixels], deadline: float | None
) -> list[Reply]:
    """Run all pictures, in as many requests as the model's batch size makes of them."""
    step = classifier.model.config.max_batch_size
    return [
        await classifier.model.infer(
            {classifier.input.name: classifier.tensor(pictures[i : i + step])},
            [classifier.output.name],
            deadline,
        )
        for i in range(0, len(pictures), step)
    ]


def _results(
    classifier: Classifier, replies: list[Reply], request: pb.ClassifyRequest
) -> list[pb.Classification]:
    scores = np.concatenate([reply.outputs[classifier.output.name] for reply in replies])
    top_k = request.top_k or DEFAULT_TOP_K
    return [
        pb.Classification(
            classes=[
                pb.Class(index=i, label=classifier.label(i), score=row[i])
                for i in best(row, top_k, request.min_score)
            ]
        )
        for row in scores
    ]


def _server_timing(timings: pb.Timings) -> str:
    """The same in a header, as ModelInfer sends it: https://www.w3.org/TR/server-timing/, in ms."""
    parts = ("decode", "queue", "compute")
    return ", ".join(f"{part};dur={getattr(timings, f'{part}_us') / 1e3:.3f}" for part in parts)


def _timings(decode_ns: int, replies: list[Reply]) -> pb.Timings:
    return pb.Timings(
        decode_us=decode_ns // 1000,
        queue_us=sum(reply.queue_ns for reply in replies) // 1000,
        compute_us=sum(reply.compute_ns for reply in replies) // 1000,
    )
