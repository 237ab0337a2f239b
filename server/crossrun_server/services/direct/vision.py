"""Classify and Detect on threads, for one picture: who decodes it runs the model on it.

Means what `VisionService` means, and shares all that reads, decodes, runs and writes.
"""

from functools import partial
from time import perf_counter_ns

from crossrun_server.access.callers import Caller as Client
from crossrun_server.models.model import Model
from crossrun_server.models.repository import Repository
from crossrun_server.scheduling.batching import Result
from crossrun_server.scheduling.turns import Turns
from crossrun_server.services.direct.call import (
    Caller,
    DirectCall,
    Failing,
    deadline_of,
    unwrapped,
)
from crossrun_server.services.vision import METHODS, AskedPictures, find, tiles_of, timing_text
from crossrun_server.telemetry.failures import Failures
from crossrun_server.telemetry.request_record import Origin
from crossrun_server.vision import pipeline
from crossrun_server.vision.images import Picture
from crossrun_server.vision.picture_limits import PictureLimits
from crossrun_server.vision.pipeline import Prediction


class DirectVision:
    """Answers one method for the classifiers and the detectors of a repository.

    Args:
        repository: has the models.
        method: the path of the method.
        limits: of the pictures in a request.
        decoding: the turns of pictures, whatever the method.
        failures: where calls that fail are noted.
    """

    def __init__(
        self,
        repository: Repository,
        method: str,
        limits: PictureLimits,
        decoding: Turns,
        failures: Failures,
    ) -> None:
        self._repository = repository
        self._method = method
        self._limits = limits
        self._decoding = decoding
        self._fail = Failing(method, failures)
        self.places = decoding.most

    def __call__(self, call: DirectCall, client: Client) -> bool:
        """Answer a call; see `Direct`.

        Several pictures, or tiles of them, are the event loop's business, which has the cache of
        responses, too.
        """
        parse, read = METHODS[self._method]
        try:
            request = parse(call.data)
            client.require_model(request.model)
            cut = tiles_of(request)
            self._limits.check(request.images, cut)
            model = find(self._repository, request)
            if len(request.images) * cut.looks != 1 or model.cache is not None:
                return False
            self._wait(call, model, read(model, request))
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this call only
            self._fail(call, error)
        return True

    def _wait(self, call: DirectCall, model: Model, asked: AskedPictures) -> None:
        """Let a call have its turn, and keep its model in use until then.

        Raises:
            QueueFull, DeadlineExceeded: it would wait too long.
        """
        pipeline.check_wait(model, self._decoding, deadline_of(call), call.peer())
        model.__enter__()
        self._decoding.take(partial(self._answer, call, model, asked), call.peer())

    def _answer(self, call: DirectCall, model: Model, asked: AskedPictures) -> None:
        try:
            if call.waits:
                self._post(call, asked)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(call, error)
        finally:
            model.__exit__()

    def _post(self, call: DirectCall, asked: AskedPictures) -> None:
        started, pictures = perf_counter_ns(), asked.pictures
        (picture,) = pipeline.decoded(pictures, 0)
        ended = perf_counter_ns()
        reply = partial(_reply, call, asked, picture, ended - started)
        pictures.input.model.post(
            pictures.tensors([picture]),
            pictures.outputs,
            Caller(call, reply, self._fail),
            deadline=deadline_of(call),
            priority=0,
            timeout=0,
            origin=Origin("", call.traceparent, (started, ended)),
            connection=call.peer(),
        )


def _reply(
    call: DirectCall, asked: AskedPictures, picture: Picture, decode_ns: int, result: Result
) -> None:
    with pipeline.blaming_size(asked.pictures.input, 0, picture.view.input):
        reply = unwrapped(result)
    timings = pipeline.timings(decode_ns, [reply])
    response = asked.respond([Prediction(picture.view, reply.outputs, 0)], timings)
    call.reply(response.SerializeToString(), timing_text(timings))
