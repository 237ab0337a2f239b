"""Runs a model on encoded pictures: decodes them on threads, and cuts them into batches.

Returns what the model says of each picture, and does not know whether that is classes or boxes.
Knows no messages.
"""

import asyncio
import logging
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from crossrun_server import cores
from crossrun_server.errors import InvalidRequest, ServingError
from crossrun_server.models.model import Model
from crossrun_server.scheduling.batching import Reply, Tensors
from crossrun_server.scheduling.turns import Turns
from crossrun_server.telemetry.request_record import Origin
from crossrun_server.tensors.tensor_spec import Array
from crossrun_server.vision.boxes import Resize, Size, View
from crossrun_server.vision.image_input import ImageInput, fixing
from crossrun_server.vision.images import Picture, looks
from crossrun_server.vision.tiles import WHOLE, Tiles

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """What a model says of one look at a picture."""

    view: View  # of the picture
    outputs: Tensors  # of the run that it was in
    row: int  # of these outputs

    def __getitem__(self, output: str) -> Array:
        """The picture's own part of an output."""
        part: Array = self.outputs[output][self.row]
        return part


@dataclass(frozen=True)
class Timings:
    """Where the time of some pictures went, in nanoseconds; waiting and computing add up."""

    decode_ns: int
    queue_ns: int
    compute_ns: int


@dataclass(frozen=True)
class Pictures:
    """Encoded pictures, and what a model is asked about them.

    The options are values for optional inputs, the same for all pictures.
    """

    input: ImageInput  # how they go into the model
    images: Sequence[bytes]  # JPEG or PNG files
    resize: Resize | None  # how they are brought to the input's size; None leaves it to the model
    outputs: Sequence[str]  # of the model, by name
    options: Mapping[str, float]
    tiles: Tiles = WHOLE  # into which each picture is cut

    def tensors(self, batch: Sequence[Picture]) -> Tensors:
        """Return the model's inputs for decoded pictures, all of the same size."""
        return self.input.tensors([picture.pixels for picture in batch], self.options)


def turns(max_wait: float) -> Turns:
    """Return the turns of all pictures that are to be decoded, on whatever thread.

    Args:
        max_wait: how many seconds a picture may be expected to wait.
    """
    # As many at once as cores: more would take turns with each other and with the sessions. Two at
    # least, since a model may run elsewhere.
    return Turns(max(2, cores.available()), max_wait)


def check_wait(model: Model, decoding: Turns, deadline: float | None, connection: Hashable) -> None:
    """Refuse a request that would wait too long, before a picture of it is decoded.

    Raises:
        QueueFull, DeadlineExceeded: see Scheduler.submit; the model counts it.
    """
    with model.counted():
        model.check_wait(deadline, connection)
        decoding.check(connection, deadline)


async def predict(
    asked: Pictures,
    decoding: Turns,
    deadline: float | None,
    connection: Hashable,
    origin: Origin,
) -> tuple[list[Prediction], Timings]:
    """Decode pictures and run a model on them, in as many batches as they need.

    Args:
        asked: the pictures, and what is asked.
        decoding: the turns of pictures.
        deadline: see Scheduler.submit.
        connection: see Scheduler.submit.
        origin: what the call says; the request of the first batch tells of the decoding.

    Returns:
        A prediction for each look at each picture, in their order, and where the time went.

    Raises:
        InvalidRequest: a picture cannot be decoded, or the model does not run on one of its
            size; the error names its position.
        ServingError: see Model.infer.
    """
    check_wait(asked.input.model, decoding, deadline, connection)
    started = time.perf_counter_ns()
    pictures = await _decode(asked, decoding, connection)
    ended = time.perf_counter_ns()
    predictions: list[Prediction] = []
    replies: list[Reply] = []
    for batch in _batches(pictures, asked.input):
        decoded = None if replies else (started, ended)
        position = len(predictions) // asked.tiles.looks
        with blaming_size(asked.input, position, batch[0].view.input):
            reply = await asked.input.model.infer(
                asked.tensors(batch),
                asked.outputs,
                deadline,
                origin=origin._replace(decoding=decoded),
                connection=connection,
            )
        predictions += (Prediction(p.view, reply.outputs, row) for row, p in enumerate(batch))
        replies.append(reply)
    return predictions, timings(ended - started, replies)


async def _decode(asked: Pictures, decoding: Turns, connection: Hashable) -> list[Picture]:
    """Decode on threads: Pillow lets go of the interpreter while it works.

    A request has no more pictures on the way there than there are threads, so that those of others
    come in between.
    """
    room = asyncio.Semaphore(decoding.most)

    async def one(position: int) -> list[Picture]:
        async with room:
            return await decoding.result(partial(decoded, asked, position), connection)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(i)) for i in range(len(asked.images))]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [picture for task in tasks for picture in task.result()]


def decoded(asked: Pictures, position: int) -> list[Picture]:
    """Decode one of the pictures on this thread: what each look at it sees.

    Raises:
        InvalidRequest: it cannot be decoded; the error names its position.
    """
    resize = asked.resize or asked.input.resize
    try:
        return looks(asked.images[position], asked.input.size, resize, asked.tiles)
    except InvalidRequest as error:
        raise InvalidRequest(f"images[{position}]: {error}") from error


def _batches(pictures: Sequence[Picture], input_: ImageInput) -> Iterator[Sequence[Picture]]:
    """Cut pictures into batches; those of a batch follow each other and have the same size."""
    for size, group in groupby(pictures, key=lambda picture: picture.view.input):
        alike, most = list(group), input_.at_once(size)
        yield from (alike[i : i + most] for i in range(0, len(alike), most))


@contextmanager
def blaming_size(input_: ImageInput, position: int, size: Size) -> Iterator[None]:
    """If a model fails on a picture of a free size, say that the size may be the reason."""
    try:
        yield
    except ServingError:
        raise
    except Exception as error:
        if not input_.is_free:
            raise
        name = input_.model.name
        log.warning("%s failed on a picture of its own size: %s", name, error)
        raise InvalidRequest(
            f"images[{position}]: {name!r} leaves the size of its pictures free and fails on "
            f"{size.height} x {size.width} pixels (height x width); sizes that it takes can be "
            f"fixed in config.pbtxt, as in {fixing(input_.model, input_.spec)}"
        ) from error


def timings(decode_ns: int, replies: Sequence[Reply]) -> Timings:
    """Add up where the time of pictures went; decoding took so many nanoseconds."""
    return Timings(
        decode_ns=decode_ns,
        queue_ns=sum(reply.queue_ns for reply in replies),
        compute_ns=sum(reply.compute_ns for reply in replies),
    )
