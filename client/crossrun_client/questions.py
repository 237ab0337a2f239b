"""What a model is asked to see whether it still answers the same: pictures, or tensors.

A model that classifies or detects is asked so; any other gets random tensors.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_client import pictures, tensors, vision
from crossrun_client.connection import Connection
from crossrun_client.errors import ClientError, Refused
from crossrun_client.likeness import CLASSES, OBJECTS, Answer, compare

Ask = Callable[[], Answer]

_MOST = 32  # pictures of a folder
_TENSORS = 8
_ROUNDS = 3
_FREE = (32, 1)  # tried for free sizes, one after the other
_EVERY = 1_000_000  # classes: all of them
_NOT_SO = {StatusCode.INVALID_ARGUMENT, StatusCode.UNIMPLEMENTED}


@dataclass(frozen=True)
class Questions:
    """What is asked, and how: one question after the other."""

    what: str  # such as 16 drawn pictures
    asks: Sequence[Ask]


@dataclass(frozen=True)
class Asked:
    """The answers to all questions, and how long one took."""

    answers: Sequence[Answer]
    latency_ms: float  # the median

    @property
    def largest(self) -> float:
        """The largest number in the answers."""
        return max((tensors.largest(answer) for answer in self.answers), default=0.0)

    @property
    def countable(self) -> bool:
        """Whether the answers are classes or objects."""
        return any(CLASSES in answer or OBJECTS in answer for answer in self.answers)


def ask(questions: Questions) -> Asked:
    """Ask all questions, one after the other and several times.

    Raises:
        ClientError: the server cannot be asked, or answers otherwise the second time.
    """
    answers = [one() for one in questions.asks]  # warms up, too
    taken = [_timed(one) for _ in range(_ROUNDS) for one in questions.asks]
    again = [answer for _, answer in taken[-len(answers) :]]
    if not compare(answers, again, 0.0).difference <= 1e-3 * max(map(tensors.largest, answers)):
        raise ClientError("the model's answers differ from one time to the next: nothing to hold")
    return Asked(answers, float(np.median([seconds for seconds, _ in taken])) * 1e3)


def _timed(one: Ask) -> tuple[float, Answer]:
    began = time.perf_counter()
    answer = one()
    return time.perf_counter() - began, answer


def questions(connection: Connection, model: str, images: Path | None) -> Questions:
    """Find out how a model can be asked.

    Args:
        connection: to its server.
        model: its name.
        images: a picture, or a folder of some; drawn ones by default.

    Raises:
        ClientError: it cannot be asked, or takes no pictures and was to be asked about some.
    """
    said = ""
    shown, kind = _shown(images)
    for way in (_classes, _objects):
        try:
            way(connection, model, shown[0])
        except Refused as error:
            if error.code not in _NOT_SO:
                raise
            said = said or str(error)
        else:
            what = f"{len(shown)} {kind}picture{'s' * (len(shown) > 1)}"
            return Questions(what, [partial(way, connection, model, one) for one in shown])
    if images:
        raise ClientError(f"{model} cannot be asked about {images}: {said}")
    return _of_tensors(connection, model)


def _shown(images: Path | None) -> tuple[list[bytes], str]:
    if images is None:
        return pictures.drawn(), "drawn "
    files = list(pictures.named([images]))
    every = np.linspace(0, len(files) - 1, min(_MOST, len(files))).round().astype(int)
    return [pictures.read(files[at]) for at in every], ""


def _classes(connection: Connection, model: str, picture: bytes) -> Answer:
    (named,) = vision.classify(connection, model, [picture], _EVERY)
    scores = np.zeros(1 + max((one.index for one in named), default=-1))
    scores[[one.index for one in named]] = [one.score for one in named]
    return {CLASSES: scores}


def _objects(connection: Connection, model: str, picture: bytes) -> Answer:
    seen = vision.detect(connection, vision.Question(model), picture)
    size = np.array([seen.height, seen.width] * 2)
    rows = [[t.index, t.score, *(np.array(t.box) / size)] for t in seen.detections]
    return {OBJECTS: np.array(rows, np.float64).reshape(-1, 6)}


def _of_tensors(connection: Connection, model: str) -> Questions:
    request = pb.ModelMetadataRequest(name=model)
    inputs = connection.ask(connection.oip.ModelMetadata, request).inputs
    for free in _FREE:
        requests = [tensors.request(model, inputs, seed, free) for seed in range(_TENSORS)]
        asks = [partial(_outputs, connection, one) for one in requests]
        try:
            asks[0]()
        except Refused as error:
            if error.code not in _NOT_SO or free == _FREE[-1]:
                raise ClientError(f"{model} refuses random inputs: {error}") from error
        else:
            return Questions(f"{len(asks)} random requests", asks)
    raise AssertionError("the last size is tried or refused")


def _outputs(connection: Connection, request: pb.ModelInferRequest) -> Answer:
    reply = connection.ask(connection.oip.ModelInfer, request)
    found: Answer = tensors.answers(reply)
    return found
