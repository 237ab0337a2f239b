"""What the calls of crossrun.v1.Vision share: encoded pictures in, a model's outputs out."""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType
from typing import NamedTuple

from crossrun.v1 import vision_pb2 as pb
from crossrun_server import cores
from crossrun_server.errors import InvalidRequest, ServingError
from crossrun_server.scheduling.batching import Reply, Tensors
from crossrun_server.vision import images
from crossrun_server.vision.boxes import Resize, Size, View
from crossrun_server.vision.image_input import ImageInput, fixing
from crossrun_server.vision.images import Picture

log = logging.getLogger(__name__)

# As many as there are cores: more would take turns with each other and with the sessions.
DECODERS = ThreadPoolExecutor(cores.available(), thread_name_prefix="decoder")
RESIZE: dict[int, Resize] = {
    pb.RESIZE_STRETCH: "stretch",
    pb.RESIZE_CROP: "crop",
    pb.RESIZE_LETTERBOX: "letterbox",
}


class Seen(NamedTuple):
    """What a model says of one picture."""

    view: View
    outputs: Tensors  # of the run that it was in
    row: int  # of these outputs


@dataclass(frozen=True)
class Answer:
    """What a model says of some pictures, in one or several runs."""

    seen: Sequence[Seen]  # of each picture
    timings: pb.Timings


async def ask(
    input_: ImageInput,
    request: pb.ClassifyRequest | pb.DetectRequest,
    outputs: Sequence[str],
    deadline: float | None,
    options: Mapping[str, float] = MappingProxyType({}),
) -> Answer:
    """Decode the pictures of a request and run them, in as many batches as they need.

    Args:
        input_: how they go into the model.
        request: the pictures, and how they are brought to size.
        outputs: of the model, by name.
        deadline: see Scheduler.submit.
        options: values for optional inputs, the same for all pictures.

    Raises:
        InvalidRequest: there are none, or one cannot be decoded, or the model does not run on
            one of its size; the message names its position.
        ServingError: see Model.infer.
    """
    resize = _resize(request, input_)
    started = time.perf_counter_ns()
    pictures = await _decode(request.images, input_, resize)
    decode_ns = time.perf_counter_ns() - started
    seen: list[Seen] = []
    replies: list[Reply] = []
    for batch in _batches(pictures, input_):
        tensors = input_.tensors([picture.pixels for picture in batch], options)
        with _told(input_, len(seen), batch[0].view.input):
            replies.append(await input_.model.infer(tensors, outputs, deadline))
        answer = replies[-1].outputs
        seen += (Seen(picture.view, answer, row) for row, picture in enumerate(batch))
    return Answer(seen, _timings(decode_ns, replies))


def _resize(request: pb.ClassifyRequest | pb.DetectRequest, input_: ImageInput) -> Resize:
    if not request.images:
        raise InvalidRequest("images is empty, expected at least one JPEG or PNG")
    if request.resize == pb.RESIZE_UNSPECIFIED:
        return input_.resize
    if request.resize not in RESIZE:
        raise InvalidRequest(f"resize is {request.resize}, expected a value of crossrun.v1.Resize")
    return RESIZE[request.resize]


async def _decode(encoded: Sequence[bytes], input_: ImageInput, resize: Resize) -> list[Picture]:
    """Decode on threads: Pillow lets go of the interpreter while it works."""
    loop = asyncio.get_running_loop()

    def load(position: int) -> Picture:
        try:
            return images.load(encoded[position], input_.size, resize)
        except InvalidRequest as error:
            raise InvalidRequest(f"images[{position}]: {error}") from error

    return await asyncio.gather(
        *(loop.run_in_executor(DECODERS, load, i) for i in range(len(encoded)))
    )


def _batches(pictures: Sequence[Picture], input_: ImageInput) -> Iterator[Sequence[Picture]]:
    """Cut into runs of pictures that follow each other and are alike in size."""
    for size, group in groupby(pictures, key=lambda picture: picture.view.input):
        alike, most = list(group), input_.at_once(size)
        yield from (alike[i : i + most] for i in range(0, len(alike), most))


@contextmanager
def _told(input_: ImageInput, position: int, size: Size) -> Iterator[None]:
    """Say of a model that fails on a picture of a free size that the size may be why."""
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


def _timings(decode_ns: int, replies: Sequence[Reply]) -> pb.Timings:
    return pb.Timings(
        decode_us=decode_ns // 1000,
        queue_us=sum(reply.queue_ns for reply in replies) // 1000,
        compute_us=sum(reply.compute_ns for reply in replies) // 1000,
    )
