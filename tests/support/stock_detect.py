"""What a user of tritonclient does to find objects; run by test_detect.py."""

import queue
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton

from tests.support.stock_client import check_told

OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")


def pictures(rows: int) -> Any:
    """A red and a fainter blue rectangle on black, each picture's one pixel further right."""
    pixels = np.zeros((rows, 48, 64, 3), np.uint8)
    for i in range(rows):
        pixels[i, 12:24, 16 + i : 48, 0] = 255
        pixels[i, 36:48, 8 + i : 16, 2] = 153
    return pixels


def inputs(rows: int, **options: float) -> list[Any]:
    arrays = {"image": pictures(rows)}
    for name, value in options.items():
        dtype = np.int64 if name == "max_detections" else np.float32
        arrays[name] = np.full((rows, 1), value, dtype)
    return [_tensor(name, array) for name, array in arrays.items()]


def _tensor(name: str, array: Any) -> Any:
    datatype = {"u": "UINT8", "i": "INT64", "f": "FP32"}[array.dtype.kind]
    tensor = triton.InferInput(name, array.shape, datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def found(result: Any) -> list[list[tuple[int, list[float]]]]:
    """Class and box, in pixels of the input, of what counts in each picture."""
    boxes, _, classes, counts = (result.as_numpy(name) for name in OUTPUTS)
    return [
        [(int(classes[i, n]), (boxes[i, n] * (48, 64, 48, 64)).round(3).tolist()) for n in range(k)]
        for i, k in enumerate(counts)
    ]


def describe(client: Any) -> None:
    """A client sees which inputs it may leave out."""
    config = client.get_model_config("finder").config
    assert [i.name for i in config.input if i.optional] == [
        "score_threshold",
        "iou_threshold",
        "max_detections",
    ]


def detect(client: Any) -> None:
    result = client.infer("finder", inputs(2))
    assert found(result) == [
        [(0, [12, 16, 24, 48]), (2, [36, 8, 48, 16])],
        [(0, [12, 17, 24, 48]), (2, [36, 9, 48, 16])],
    ]
    assert np.allclose(result.as_numpy("detection_scores")[0], [1, 0.6, 0])


def choose(client: Any) -> None:
    """Thresholds of the caller's, all or one, the same for each row or not."""
    for options, counts in (
        ({"score_threshold": 0.7}, [1, 1]),
        ({"max_detections": 1}, [1, 1]),
        ({"score_threshold": 0.1, "iou_threshold": 0.4, "max_detections": 3}, [2, 2]),
    ):
        result = client.infer("finder", inputs(2, **options))
        assert [len(one) for one in found(result)] == counts, options
    own = _tensor("score_threshold", np.array([[0.7], [0.1]], np.float32))
    assert [len(one) for one in found(client.infer("finder", [*inputs(2), own]))] == [1, 2]


def choose_in_a_stream(client: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put(error or result))
    for options in ({}, {"score_threshold": 0.7}, {"max_detections": 2}):
        client.async_stream_infer("finder", inputs(1, **options))
    client.stop_stream()
    assert [len(found(answers.get(timeout=60))[0]) for _ in range(3)] == [2, 1, 2]


def be_refused(client: Any) -> None:
    wrong = _tensor("score_threshold", np.zeros((1, 1), np.float32))
    check_told(lambda: client.infer("finder", [*inputs(2), wrong]), "must agree in batch size")
    check_told(lambda: client.infer("letterboxed", inputs(1, iou_threshold=0.5)), "has no input")


def main(address: str) -> None:
    with triton.InferenceServerClient(address) as client:
        for step in (describe, detect, choose, choose_in_a_stream, be_refused):
            step(client)
    print("all calls answered")  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(sys.argv[1])
