"""How many pictures a request may hold, and of how many pixels together."""

from collections.abc import Sequence
from dataclasses import dataclass

from crossrun_server.errors import InvalidRequest
from crossrun_server.vision import images


@dataclass(frozen=True)
class PictureLimits:
    """Limits of one request."""

    pictures: int = 256
    megapixels: int = 400

    @property
    def unseen(self) -> int:
        """How many pictures cannot have too many pixels, whatever their headers say."""
        return self.megapixels * 1_000_000 // images.MAX_PIXELS

    def check(self, pictures: Sequence[bytes], looks: int) -> None:
        """Raise InvalidRequest if the pictures of a request are too many or too large."""
        self.check_count(len(pictures), looks)
        if len(pictures) > self.unseen:
            self.check_pixels(pictures)

    def check_count(self, count: int, looks: int) -> None:
        """Raise InvalidRequest if so many pictures are too many.

        A model looks at each of them several times if it is cut into tiles, and each time it takes
        as much memory as a picture of its own.
        """
        if count * looks > self.pictures:
            told = f", and tiles ask for {looks} looks at each" if looks > 1 else ""
            raise InvalidRequest(
                f"images has {count} pictures{told}, expected {self.pictures} at most; the "
                "server's --max-request-pictures sets the limit"
            )

    def check_pixels(self, pictures: Sequence[bytes]) -> None:
        """Raise InvalidRequest if the pictures have too many pixels; their headers tell."""
        pixels, most = sum(map(images.pixels, pictures)), self.megapixels * 1_000_000
        if pixels > most:
            raise InvalidRequest(
                f"images has {pixels} pixels in all, expected {most} at most; the server's "
                "--max-request-megapixels sets the limit"
            )
