"""crossrun.v1.Vision: encoded pictures in, labels and boxes out."""

import numpy as np

from crossrun.v1 import vision_pb2 as pb
from crossrun.v1.vision_pb2_grpc import VisionServicer
from crossrun_server.model_config import probabilities
from crossrun_server.models.model import Model
from crossrun_server.models.repository import Repository
from crossrun_server.services import detecting
from crossrun_server.services.edge import Context
from crossrun_server.services.inference import deadline_of
from crossrun_server.services.pictures import Answer, ask
from crossrun_server.vision import classifier
from crossrun_server.vision.classifier import Classifier

DEFAULT_TOP_K = 5


class VisionService(VisionServicer):
    """Answers for every image classifier and every detector of a repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def Classify(self, request: pb.ClassifyRequest, context: Context) -> pb.ClassifyResponse:
        """Name what each picture shows."""
        with self._find(request) as model:
            response = await _classify(model, request, deadline_of(context))
        _tell(context, response.timings)
        return response

    async def Detect(self, request: pb.DetectRequest, context: Context) -> pb.DetectResponse:
        """Find the objects in each picture."""
        with self._find(request) as model:
            response = await detecting.detect(model, request, deadline_of(context))
        _tell(context, response.timings)
        return response

    def _find(self, request: pb.ClassifyRequest | pb.DetectRequest) -> Model:
        return self._repository.get(request.model or self._repository.only(), request.version)


async def _classify(
    model: Model, request: pb.ClassifyRequest, deadline: float | None
) -> pb.ClassifyResponse:
    how = classifier.describe(model)
    answer = await ask(how.input, request, [how.output], deadline)
    return pb.ClassifyResponse(
        model=model.name,
        version=model.version,
        results=_results(model, how, answer, request),
        timings=answer.timings,
    )


def _results(
    model: Model, how: Classifier, answer: Answer, request: pb.ClassifyRequest
) -> list[pb.Classification]:
    raw = np.array([seen.outputs[how.output][seen.row] for seen in answer.seen])
    scores = probabilities.probabilities(raw, how.head)
    top_k = request.top_k or DEFAULT_TOP_K
    labels = model.names(how.output, scores.shape[1:])
    return [
        pb.Classification(
            classes=[
                pb.Class(index=i, label=labels[i] if labels else str(i), score=row[i])
                for i in classifier.best(row, top_k, request.min_score)
            ]
        )
        for row in scores
    ]


def _tell(context: Context, timings: pb.Timings) -> None:
    """The same in a header, as ModelInfer sends it: https://www.w3.org/TR/server-timing/, in ms."""
    parts = ("decode", "queue", "compute")
    text = ", ".join(f"{part};dur={getattr(timings, f'{part}_us') / 1e3:.3f}" for part in parts)
    context.set_trailing_metadata((("server-timing", text),))
