"""How many pictures a request may hold, and of how many pixels together."""

from collections.abc import Sequence
from dataclasses import dataclass

from crossrun_server.errors import InvalidRequest
from crossrun_server.vision import images
from crossrun_server.vision.tiles import Tiles


@dataclass(frozen=True)
class PictureLimits:
    """Limits of one request."""

    pictures: int = 256
    megapixels: int = 400

    def check(self, pictures: Sequence[bytes], cut: Tiles) -> None:
        """Raise InvalidRequest if the pictures of a request are too many or too large.

        Args:
            pictures: JPEG or PNG files.
            cut: into which tiles they are cut. A model looks at each tile as at a picture of its
                own, which takes as much memory.
        """
        self.check_count(len(pictures), cut)
        if self.may_be_too_large(len(pictures), cut):
            self.check_pixels(pictures, cut)

    def check_count(self, count: int, cut: Tiles) -> None:
        """Raise InvalidRequest if so many pictures are too many."""
        if count * cut.looks > self.pictures:
            told = f", and tiles ask for {cut.looks} looks at each" if cut.looks > 1 else ""
            raise InvalidRequest(
                f"images has {count} pictures{told}, expected {self.pictures} at most; the "
                "server's --max-request-pictures sets the limit"
            )

    def may_be_too_large(self, count: int, cut: Tiles) -> bool:
        """Whether so many pictures can have too many pixels, if their headers allow it."""
        return count * images.MAX_PIXELS * cut.area > self.megapixels * 1_000_000

    def check_pixels(self, pictures: Sequence[bytes], cut: Tiles) -> None:
        """Raise InvalidRequest if the pictures have too many pixels; their headers tell."""
        pixels, most = round(sum(map(images.pixels, pictures)) * cut.area), self.megapixels * 10**6
        if pixels > most:
            told = " with all tiles" if cut.looks > 1 else ""
            raise InvalidRequest(
                f"images has {pixels} pixels in all{told}, expected {most} at most; the server's "
                "--max-request-megapixels sets the limit"
            )
