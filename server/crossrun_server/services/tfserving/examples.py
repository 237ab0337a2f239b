"""TensorFlow's Examples as encoded pictures: the only feature that a classifier here looks at."""

from collections.abc import Iterator

from crossrun.tfserving import prediction_service_pb2 as pb
from crossrun.tfserving import tensorflow_pb2 as tf
from crossrun_server.errors import InvalidRequest

FEATURE = "image/encoded"


def pictures(request: pb.Input) -> list[bytes]:
    """Return the encoded picture of each example.

    Raises:
        InvalidRequest: there are no examples, or one has not exactly one picture.
    """
    kind = request.WhichOneof("kind")
    if kind is None:
        raise InvalidRequest("input is empty, expected example_list")
    listed = getattr(request, kind)
    if not listed.examples:
        raise InvalidRequest(f"input.{kind}.examples is empty, expected at least one")
    context = listed.context if kind == "example_list_with_context" else tf.Example()
    return list(_each(f"input.{kind}", listed.examples, context))


def _each(where: str, examples: list[tf.Example], context: tf.Example) -> Iterator[bytes]:
    for position, example in enumerate(examples):
        found = [one.features.feature for one in (example, context)]
        feature = next((one[FEATURE] for one in found if FEATURE in one), tf.Feature())
        if len(feature.bytes_list.value) != 1:
            got = f"{len(feature.bytes_list.value)} values of bytes in that feature"
            named = ", ".join(sorted(example.features.feature)[:8]) or "none"
            told = got if any(FEATURE in one for one in found) else f"the features {named}"
            raise InvalidRequest(
                f"{where}.examples[{position}]: expected one JPEG or PNG in the feature "
                f"{FEATURE!r}, got {told}"
            )
        yield feature.bytes_list.value[0]
