"""tensorflow.serving.PredictionService: tensors or pictures in, as ModelInfer and Vision answer."""

import math
from collections.abc import Sequence
from functools import partial

from crossrun.tfserving import prediction_service_pb2 as pb
from crossrun.tfserving.prediction_service_pb2_grpc import PredictionServiceServicer
from crossrun.v1 import vision_pb2
from crossrun_server.errors import InvalidRequest, NotSupported
from crossrun_server.models.model import Model
from crossrun_server.models.repository import Repository
from crossrun_server.scheduling.batching import Reply
from crossrun_server.services.edge import Context, traceparent
from crossrun_server.services.inference import deadline_of, done, server_timing
from crossrun_server.services.tfserving import examples, signatures, tensors
from crossrun_server.services.tfserving.signatures import CLASSIFY, PREDICT
from crossrun_server.services.vision import VisionService
from crossrun_server.telemetry.request_record import Origin
from crossrun_server.tensors.tensor_spec import Array

FIELD = "signature_def"
ALL = 2**32 - 1  # classes


class PredictionService(PredictionServiceServicer):
    """Answers for every model of a repository.

    Args:
        repository: has the models.
        vision: classifies pictures.
    """

    def __init__(self, repository: Repository, vision: VisionService) -> None:
        self._repository = repository
        self._vision = vision

    async def Predict(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:
        """Run a model on the tensors of a request."""
        with signatures.find(self._repository, request.model_spec, PREDICT) as model:
            outputs = _outputs(model, request.output_filter)
            inputs = await done(_claimed(request), partial(_inputs, model, request))
            reply = await model.infer(
                inputs,
                outputs,
                deadline_of(context),
                origin=Origin("", traceparent(context)),
                connection=context.peer(),
            )
            size = sum(array.nbytes for array in reply.outputs.values())
            response = await done(size, partial(_respond, model, reply))
        context.set_trailing_metadata((("server-timing", server_timing(reply)),))
        return response

    async def Classify(
        self, request: pb.ClassificationRequest, context: Context
    ) -> pb.ClassificationResponse:
        """Return all classes of each picture, the best first."""
        model = signatures.find(self._repository, request.model_spec, PREDICT, CLASSIFY)
        asked = vision_pb2.ClassifyRequest(
            model=model.name,
            version=model.version,
            images=examples.pictures(request.input),
            top_k=ALL,
        )
        found = await self._vision.Classify(asked, context)
        assert isinstance(found, vision_pb2.ClassifyResponse)
        return pb.ClassificationResponse(
            result=pb.ClassificationResult(classifications=map(_classes, found.results)),
            model_spec=signatures.named(model, request.model_spec.signature_name or PREDICT),
        )

    async def Regress(
        self, request: pb.RegressionRequest, context: Context
    ) -> pb.RegressionResponse:
        """Refuse: an ONNX model does not say which features of an Example it takes."""
        raise NotSupported("Regress is not supported: ONNX models take tensors; use Predict")

    async def MultiInference(
        self, request: pb.MultiInferenceRequest, context: Context
    ) -> pb.MultiInferenceResponse:
        """Refuse: there is one signature for each kind of call."""
        raise NotSupported("MultiInference is not supported; use Predict, or Classify")

    async def GetModelMetadata(
        self, request: pb.GetModelMetadataRequest, context: Context
    ) -> pb.GetModelMetadataResponse:
        """Describe the signatures of a model."""
        if list(request.metadata_field) != [FIELD]:
            got = ", ".join(map(repr, request.metadata_field)) or "none"
            raise InvalidRequest(f"metadata_field is {got}, expected {FIELD!r}")
        spec = request.model_spec
        model = self._repository.find(spec.name, signatures.version_of(spec))
        response = pb.GetModelMetadataResponse(model_spec=signatures.named(model))
        response.metadata[FIELD].Pack(signatures.describe(model))
        return response


def _outputs(model: Model, wanted: Sequence[str]) -> list[str]:
    """Return the outputs that are wanted; none for all of them.

    Raises:
        InvalidRequest: one is unknown, or wanted twice.
    """
    for name in wanted:
        model.output(name)
    if len(set(wanted)) < len(wanted):
        twice = next(name for name in wanted if list(wanted).count(name) > 1)
        raise InvalidRequest(f"output_filter names {twice!r} twice")
    return list(wanted)


def _inputs(model: Model, request: pb.PredictRequest) -> dict[str, Array]:
    specs = {name: model.input(name) for name in request.inputs}
    return {name: tensors.read(request.inputs[name], spec) for name, spec in specs.items()}


def _respond(model: Model, reply: Reply) -> pb.PredictResponse:
    response = pb.PredictResponse(model_spec=signatures.named(model, PREDICT))
    for name, array in reply.outputs.items():
        tensor = tensors.write(array, model.outputs[name].datatype)
        response.outputs[name].CopyFrom(tensor)
    return response


def _claimed(request: pb.PredictRequest) -> int:
    """Return about how many bytes the tensors have, if they have the shapes that they say."""
    return 4 * sum(math.prod(tensors.sizes(tensor)) for tensor in request.inputs.values())


def _classes(found: vision_pb2.Classification) -> pb.Classifications:
    return pb.Classifications(
        classes=[pb.Class(label=one.label, score=one.score) for one in found.classes]
    )
