"""Tokens over a real connection, at every RPC, on both front ends: who may do what."""

import queue
import urllib.error
import urllib.request
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun.tfserving import model_service_pb2, prediction_service_pb2
from crossrun.tfserving.model_service_pb2_grpc import ModelServiceStub
from crossrun.tfserving.prediction_service_pb2_grpc import PredictionServiceStub
from crossrun.v1 import providers_pb2, vision_pb2
from crossrun.v1.providers_pb2_grpc import ProvidersStub
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_server.access.rules import HEALTH, RULES
from tests.fuzz.seeds import METHODS
from tests.support.access import FOREIGN, Metadata, bearer
from tests.support.pictures import plain
from tests.support.predicting import predict
from tests.support.requests import gather, refusal, simple
from tests.support.running import Server

UNAUTHENTICATED, DENIED = StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED
OPEN = [path for path, rule in RULES.items() if rule.opened == HEALTH]
COLOURS = prediction_service_pb2.ModelSpec(name="colours")
CLOSED = [path for path in RULES if path not in OPEN]
SOME = bearer("some")


def ending(channel: grpc.Channel, path: str, metadata: Metadata) -> tuple[StatusCode, str]:
    """How a call ends whose message, if it is ever read, is none."""
    streams, data = METHODS[path], b"\xff"
    unary: Any = channel.unary_unary(path)
    telling: Any = channel.unary_stream(path)
    talking: Any = channel.stream_stream(path)
    if streams == (True, True):
        call = talking(iter([data]), metadata=metadata)
    else:
        call = (telling if streams[1] else unary.future)(data, metadata=metadata)
    return call.code(), call.details()


@pytest.mark.parametrize("path", CLOSED)
def test_no_rpc_answers_a_stranger(channel: grpc.Channel, path: str) -> None:
    """Without a token and with one of another server, before its message is read."""
    code, text = ending(channel, path, ())
    assert (code, "needs a token" in text) == (UNAUTHENTICATED, True)
    assert ending(channel, path, bearer(FOREIGN)) == (UNAUTHENTICATED, "the token is not known")


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("scope", ["infer", "read", "control"])
def test_a_scope_is_for_its_own_rpcs(channel: grpc.Channel, path: str, scope: str) -> None:
    """Any other is refused, before its message is read, and names the scope that it needs."""
    needed = RULES[path].scope
    code, text = ending(channel, path, bearer(scope))
    if needed in (None, scope):
        assert code not in (UNAUTHENTICATED, DENIED)
    else:
        name = path.rpartition("/")[2]
        expected = f"{name} needs the scope {needed}; token {scope!r} has {scope}"
        assert (code, text) == (DENIED, expected)


@pytest.mark.parametrize(
    "sent",
    [
        (("authorization", "all"),),
        (("authorization", "Basic all"),),
        (("authorization", "Bearer"),),
        (("authorization", ""),),
        (*bearer("all"), *bearer("all")),
        (*bearer("all"), *bearer(FOREIGN)),
        (("authorization-bin", "Bearer all"),),
        (("token", "all"),),
    ],
)
def test_a_token_is_sent_in_one_way(channel: grpc.Channel, sent: Metadata) -> None:
    """In one header of the one form; sent twice, two readers might see two callers."""
    for path in ("ModelInfer", "ModelMetadata"):
        metadata = tuple((k, v.encode() if k.endswith("-bin") else v) for k, v in sent)
        code, _ = ending(channel, f"/inference.GRPCInferenceService/{path}", metadata)  # type: ignore[arg-type]
        assert code == UNAUTHENTICATED


def test_the_scheme_is_written_in_any_case(channel: grpc.Channel) -> None:
    """As HTTP has it."""
    for scheme in ("bearer", "BEARER"):
        assert Stub(channel).ModelInfer(gather(1), metadata=[("authorization", f"{scheme} infer")])


def test_a_model_is_for_those_it_was_given_to(channel: grpc.Channel) -> None:
    """A pattern holds for tensors, for pictures and for all else that names a model."""
    stub, vision = Stub(channel), VisionStub(channel)
    assert stub.ModelInfer(gather(3), metadata=SOME).outputs
    assert refusal(stub.ModelInfer, simple(1), metadata=SOME) == (
        DENIED, "token 'some' may not use the model 'simple'"
    )  # fmt: skip
    typed = pb.ModelInferRequest(model_name="simple", parameters={"a": pb.InferParameter()})
    picture = vision_pb2.ClassifyRequest(model="colours", images=[plain(255, 0, 0)])
    two = vision_pb2.ClassifyRequest(model="colours", images=[plain(255, 0, 0)] * 2)
    calls: list[tuple[Any, Any]] = [
        (stub.ModelInfer, typed),
        (vision.Classify, picture),
        (vision.Classify, two),
        (vision.Detect, vision_pb2.DetectRequest(model="colours", images=picture.images)),
        (stub.ModelReady, pb.ModelReadyRequest(name="simple")),
        (stub.ModelMetadata, pb.ModelMetadataRequest(name="simple")),
        (stub.ModelConfig, pb.ModelConfigRequest(name="simple")),
        (stub.ModelStatistics, pb.ModelStatisticsRequest(name="simple")),
        (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name="simple")),
        (stub.RepositoryModelUnload, pb.RepositoryModelUnloadRequest(model_name="simple")),
        (stub.TraceSetting, pb.TraceSettingRequest(model_name="simple")),
        (
            ProvidersStub(channel).ListPlacements,
            providers_pb2.ListPlacementsRequest(model="simple"),
        ),
        (PredictionServiceStub(channel).Predict, predict("simple")),
        (
            PredictionServiceStub(channel).GetModelMetadata,
            prediction_service_pb2.GetModelMetadataRequest(model_spec=COLOURS),
        ),
        (
            PredictionServiceStub(channel).Classify,
            prediction_service_pb2.ClassificationRequest(model_spec=COLOURS),
        ),
        (
            ModelServiceStub(channel).GetModelStatus,
            model_service_pb2.GetModelStatusRequest(model_spec=COLOURS),
        ),
        (health(channel).Check, health_pb2.HealthCheckRequest(service="simple")),
    ]
    for call, request in calls:
        assert refusal(call, request, metadata=SOME)[0] == DENIED
    assert vision.Classify(picture, metadata=bearer("infer")).results


def health(channel: grpc.Channel) -> Any:
    return health_pb2_grpc.HealthStub(channel)


def test_a_refusal_does_not_tell_whether_a_model_exists(channel: grpc.Channel) -> None:
    """The same words for one that is there and one that is not."""

    def ask(name: str) -> tuple[StatusCode, str]:
        request = pb.ModelInferRequest(model_name=name)
        return refusal(Stub(channel).ModelInfer, request, metadata=SOME)

    assert ask("simple")[1].replace("simple", "nobody") == ask("nobody")[1]
    assert ask("gatherer")[0] == StatusCode.NOT_FOUND  # which the pattern permits


def test_lists_leave_out_the_models_of_others(channel: grpc.Channel) -> None:
    """The index, the statistics and the placements of all models are those of the pattern."""
    stub, placing = Stub(channel), ProvidersStub(channel)

    def told(metadata: Metadata) -> list[set[str]]:
        index = stub.RepositoryIndex(pb.RepositoryIndexRequest(), metadata=metadata)
        counted = stub.ModelStatistics(pb.ModelStatisticsRequest(), metadata=metadata)
        request = providers_pb2.ListPlacementsRequest()
        placed = placing.ListPlacements(request, metadata=metadata)
        return [
            {one.name for one in index.models},
            {one.name for one in counted.model_stats},
            {one.model for one in placed.placements},
        ]

    assert told(SOME) == [{"gather"}] * 3
    assert told(bearer("read")) == [{"colours", "gather", "simple"}] * 3


def test_a_name_that_is_left_out_is_not_permitted(channel: grpc.Channel) -> None:
    """Where the server would choose, or would name the models that there are."""
    request = vision_pb2.ClassifyRequest(images=[plain(255, 0, 0)])
    vision = VisionStub(channel)
    detect = vision_pb2.DetectRequest(images=request.images)
    for call, one in ((vision.Classify, request), (vision.Detect, detect)):
        refused = refusal(call, one, metadata=SOME)
        assert refused == (DENIED, "token 'some' may not use the model ''")
    assert vision.Classify(request, metadata=bearer("infer")).model == "colours"
    every = pb.TraceSettingRequest()
    assert refusal(Stub(channel).TraceSetting, every, metadata=SOME)[0] == DENIED


def stream(channel: grpc.Channel, metadata: Metadata, *messages: pb.ModelInferRequest) -> Any:
    return Stub(channel).ModelStreamInfer(iter(messages), metadata=metadata)


def test_each_request_of_a_stream_is_looked_at(channel: grpc.Channel) -> None:
    """One that names a model of others ends the stream, once those before it are answered."""
    assert len(list(stream(channel, SOME, gather(1), gather(2)))) == 2
    call, answers = stream(channel, SOME, gather(1), gather(2), simple(1), gather(3)), []
    code, text = refusal(lambda: answers.extend(call))
    assert (code, text) == (DENIED, "token 'some' may not use the model 'simple'")
    assert len(answers) == 2


def test_a_stream_of_a_stranger_ends_at_once(channel: grpc.Channel) -> None:
    """Not only once it has sent a request, which may be never."""

    requests: queue.SimpleQueue[pb.ModelInferRequest | None] = queue.SimpleQueue()
    call: Any = Stub(channel).ModelStreamInfer(iter(requests.get, None))
    assert call.code() == UNAUTHENTICATED
    requests.put(None)


def test_the_health_that_was_opened_is_the_servers(channel: grpc.Channel) -> None:
    """Everybody may ask for that of the server and of its services, and of no model."""
    check = health(channel).Check
    for name in ("", "inference.GRPCInferenceService"):
        assert check(health_pb2.HealthCheckRequest(service=name)).status == 1
    assert Stub(channel).ServerLive(pb.ServerLiveRequest()).live
    assert Stub(channel).ServerReady(pb.ServerReadyRequest()).ready
    for name in ("simple", "nobody"):
        asked = health_pb2.HealthCheckRequest(service=name)
        assert refusal(check, asked)[0] == UNAUTHENTICATED
        watch = health(channel).Watch(asked)
        assert refusal(list, watch)[0] == UNAUTHENTICATED
        ready = pb.ModelReadyRequest(name=name)
        assert refusal(Stub(channel).ModelReady, ready)[0] == UNAUTHENTICATED
    asked = health_pb2.HealthCheckRequest(service="simple")
    assert check(asked, metadata=bearer("infer")).status == 1


def test_the_metrics_need_a_token_that_reads_all_models(guarded: Server) -> None:
    """The others are refused as HTTP has it."""

    asked = set()

    def status(*token: str) -> int:
        request = urllib.request.Request(guarded.metrics)
        for one in token:
            request.add_header("Authorization", f"Bearer {one}")
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                asked.add((error.code, error.headers["WWW-Authenticate"]))
                return error.code

    assert [status(), status(FOREIGN)] == [401, 401]
    assert [status("infer"), status("some")] == [403, 403]
    assert [status("read"), status("all")] == [200, 200]
    assert asked == {(401, "Bearer"), (403, None)}
