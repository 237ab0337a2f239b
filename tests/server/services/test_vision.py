"""Classify over a real connection, and pixels that equal Keras's."""

import io
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc import StatusCode
from PIL import Image

from crossrun.v1 import vision_pb2 as pb
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_server.errors import InvalidRequest
from crossrun_server.vision import images
from crossrun_server.vision.boxes import Size
from crossrun_server.vision.classifier import best
from tests.support.pictures import ORIENTATION, encoded, halves, plain
from tests.support.requests import refusal
from tests.support.running import MATERIAL
from tests.support.vision import classify


def test_labels_come_best_first(channel: grpc.Channel) -> None:
    """Each picture gets its classes in order of score, with index and label."""
    reply = classify(channel, plain(51, 204, 102), plain(255, 0, 0, "JPEG"))
    assert (reply.model, reply.version) == ("colours", "1")
    first = [(c.index, c.label, round(c.score, 3)) for c in reply.results[0].classes]
    assert first == [(1, "green", 0.8), (2, "blue", 0.4), (0, "red", 0.2)]
    assert reply.results[1].classes[0].label == "red"


def test_top_k_and_min_score_shorten_the_list(channel: grpc.Channel) -> None:
    """At most top_k classes, none under min_score, possibly none at all."""
    picture = plain(51, 204, 102)
    assert [c.label for c in classify(channel, picture, top_k=1).results[0].classes] == ["green"]
    above = classify(channel, picture, min_score=0.3).results[0].classes
    assert [c.label for c in above] == ["green", "blue"]
    assert len(classify(channel, picture, min_score=0.9).results[0].classes) == 0


def test_equal_scores_keep_the_order_of_classes() -> None:
    """Among equals the lower index comes first, so that answers do not depend on luck."""
    assert best(np.array([0.2, 0.4, 0.4, 0.0], np.float32), 3, 0.0) == [1, 2, 0]


def test_more_pictures_than_the_batch_holds_are_answered_in_order(channel: grpc.Channel) -> None:
    """Eleven pictures pass through a model that takes four at a time."""
    reply = classify(channel, *(plain(20 * i, 0, 0) for i in range(11)), top_k=1)
    scores = [result.classes[0].score for result in reply.results]
    assert scores == pytest.approx([20 * i / 255 for i in range(11)], abs=1e-6)


def test_the_reply_says_where_the_time_went(channel: grpc.Channel) -> None:
    """The answer says how long decoding and computing took."""
    picture = encoded(Image.effect_noise((800, 600), 90))
    request = pb.ClassifyRequest(model="colours", images=[picture])
    reply, call = VisionStub(channel).Classify.with_call(request)
    assert reply.timings.decode_us > 0
    assert reply.timings.compute_us > 0
    header = dict(call.trailing_metadata())["server-timing"]
    assert header.startswith(f"decode;dur={reply.timings.decode_us / 1e3:.3f}, queue;dur=")


def test_the_resize_is_the_callers_to_choose(channel: grpc.Channel) -> None:
    """Stretch sees the whole picture, crop its middle, letterbox a quarter of red amid grey."""
    image = Image.new("RGB", (80, 20), (0, 255, 0))
    image.paste((255, 0, 0), (30, 0, 50, 20))
    whole = classify(channel, encoded(image), resize=pb.RESIZE_STRETCH).results[0].classes
    middle = classify(channel, encoded(image), resize=pb.RESIZE_CROP).results[0].classes
    assert whole[0].label == "green"
    assert (middle[0].label, middle[0].score) == ("red", 1.0)
    image.paste((255, 0, 0), (0, 0, 80, 20))
    boxed = classify(channel, encoded(image), resize=pb.RESIZE_LETTERBOX).results[0].classes
    assert boxed[0].score == pytest.approx((2 * 255 + 6 * 114) / 8 / 255, abs=1e-6)


def test_what_is_no_picture_is_named_by_its_place(channel: grpc.Channel) -> None:
    """A bad picture among good ones is INVALID_ARGUMENT with its position."""
    good = plain(1, 2, 3)
    for bad, expected in (
        (b"", "images[1]: neither JPEG nor PNG: it is empty"),
        (b"GIF89a", "images[1]: neither JPEG nor PNG: it looks like a GIF; expected the bytes of "),
        (b"\0\1\2\3", "images[1]: neither JPEG nor PNG"),
        (encoded(halves(), "JPEG")[:-200], "images[1]: cannot be decoded: "),
        (encoded(Image.effect_noise((64, 64), 50))[:1500], "images[1]: cannot be decoded: "),
    ):
        code, details = refusal(lambda bad=bad: classify(channel, good, bad))
        assert code == StatusCode.INVALID_ARGUMENT
        assert details.startswith(expected)


def test_a_request_that_makes_no_sense_is_refused(channel: grpc.Channel) -> None:
    """No pictures, an unknown resize, a model that takes no pictures."""
    good = plain(1, 2, 3)
    stub = VisionStub(channel)
    for request, code, expected in (
        (pb.ClassifyRequest(model="colours"), StatusCode.INVALID_ARGUMENT, "images is empty"),
        (
            pb.ClassifyRequest(model="colours", images=[good], resize=9),  # type: ignore[arg-type]
            StatusCode.INVALID_ARGUMENT,
            "resize is 9, expected a value of crossrun.v1.Resize",
        ),
        (
            pb.ClassifyRequest(model="simple", images=[good]),
            StatusCode.INVALID_ARGUMENT,
            "'simple' takes no pictures",
        ),
        (pb.ClassifyRequest(model="no", images=[good]), StatusCode.NOT_FOUND, "Request for unk"),
    ):
        found, details = refusal(lambda request=request: stub.Classify(request))
        assert found == code
        assert expected in details


def test_every_kind_of_pixel_becomes_rgb() -> None:
    """Grey, palette, alpha, CMYK and 16-bit pictures all become eight-bit RGB."""
    grey16 = Image.fromarray(np.full((9, 9), 51 * 257, np.uint16))
    for data in (
        encoded(Image.new("L", (9, 9), 51)),
        encoded(Image.new("RGB", (9, 9), (51, 51, 51)).quantize(4)),
        encoded(Image.new("RGBA", (9, 9), (51, 51, 51, 7))),
        encoded(Image.new("LA", (9, 9), (51, 7))),
        encoded(Image.new("CMYK", (9, 9), (204, 204, 204, 0)), "JPEG", quality=100),
        encoded(grey16),
    ):
        pixels = images.load(data, Size(4, 4), "stretch").pixels
        assert (str(pixels.dtype), pixels.shape) == ("uint8", (4, 4, 3))
        assert np.abs(pixels.astype(int) - 51).max() <= 2


def test_the_orientation_of_a_photograph_is_applied() -> None:
    """A picture turned by its EXIF tag is classified upright."""
    exif = Image.Exif()
    exif[ORIENTATION] = 3  # upside down
    pixels = images.load(encoded(halves(), "PNG", exif=exif), Size(4, 4), "stretch").pixels
    assert pixels[0, 0].tolist() == [0, 0, 255]


def test_a_picture_that_unfolds_to_gigabytes_is_refused() -> None:
    """The size is read and judged before a pixel is decoded."""
    bomb = encoded(Image.new("1", (12_000, 12_000)))
    with pytest.raises(InvalidRequest, match=r"12000 x 12000 pixels, expected at most 100000000"):
        images.load(bomb, Size(4, 4), "stretch")
    sliver = encoded(Image.new("1", (1, 70_000)))
    with pytest.raises(InvalidRequest, match=r"1 x 70000 pixels, expected sides of at most 65535"):
        images.load(sliver, Size(4, 4), "stretch")


def test_extreme_shapes_are_served() -> None:
    """One pixel and a sliver both come out at the input's size, stretched or cropped."""
    for size in ((1, 1), (5000, 3), (3, 5000)):
        data = encoded(Image.new("RGB", size, (9, 9, 9)))
        for resize in ("stretch", "crop"):
            assert images.load(data, Size(8, 6), resize).pixels.shape == (8, 6, 3)


def test_crop_cuts_the_middle_in_the_inputs_proportion() -> None:
    """Of a wide picture the middle 0.875 of its height is kept, square for a square input."""
    ramp = np.broadcast_to(np.arange(160, dtype=np.uint8)[np.newaxis, :, np.newaxis], (80, 160, 3))
    pixels = images.load(encoded(Image.fromarray(ramp.copy())), Size(70, 70), "crop").pixels
    assert pixels[0, 0, 0] == 45
    assert pixels[-1, -1, 0] == 114


def test_a_jpeg_much_larger_than_the_input_is_decoded_smaller() -> None:
    """Its pixels are those of the whole picture but for a grey value; a smaller one's are exact."""
    rng = np.random.default_rng(3)
    scene = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    off = []
    for width, height in ((1200, 900), (250, 190)):
        jpeg = encoded(scene.resize((width, height), Image.Resampling.BICUBIC), "JPEG", quality=95)
        whole = Image.open(io.BytesIO(jpeg)).resize((48, 48), Image.Resampling.BILINEAR)
        got = images.load(jpeg, Size(48, 48), "stretch").pixels.astype(float)
        off.append(np.abs(got - np.asarray(whole)).mean())
    assert 0 < off[0] <= 1
    assert off[1] == 0


def test_pixels_equal_those_of_keras(photographs: Path) -> None:
    """Every photograph equals what keras.utils.load_img returns, bit by bit."""
    keras = pytest.importorskip("crossrun_export.backend").keras
    files = sorted(photographs.glob("*/*.JPEG")) + sorted((MATERIAL / "photos").glob("*.jpg"))
    for file in files:
        expected = keras.utils.load_img(file, target_size=(224, 224), interpolation="bilinear")
        pixels = images.load(file.read_bytes(), Size(224, 224), "stretch").pixels
        assert np.array_equal(pixels, np.asarray(expected)), file
