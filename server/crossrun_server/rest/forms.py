"""Forms of multipart/form-data, as `curl -F` and web pages send them."""

from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from crossrun_server.errors import InvalidRequest

TYPE = "multipart/form-data"
MOST_PARTS = 50_000
DISPOSITION = "content-disposition"


class Part(NamedTuple):
    """A field of a form."""

    name: str
    content: bytes


def read(body: bytes, content_type: str) -> list[Part]:
    """Read a form.

    Args:
        body: its bytes.
        content_type: the header, which has the boundary.

    Raises:
        InvalidRequest: it is no form.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise InvalidRequest(f"content-type is {TYPE} without a boundary")
    reading = _Reading()
    try:
        parser = MultipartParser(boundary, reading.callbacks())  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise InvalidRequest(f"the body is no {TYPE}: {error}") from None
    if not reading.ended:
        raise InvalidRequest(f"the body is no whole {TYPE}: its last boundary is missing")
    return reading.parts


class _Reading:
    """Collects what the parser finds."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.ended = False
        self._headers: dict[str, bytes] = {}
        self._field, self._value, self._content = b"", b"", list[bytes]()

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self._content.append(data[start:end]),
            "on_part_end": self._end,
            "on_header_field": self._add_field,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        if len(self.parts) >= MOST_PARTS:
            raise InvalidRequest(f"the form has more than {MOST_PARTS} parts")
        self._headers, self._content = {}, []

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._field.decode("latin-1").lower()] = self._value
        self._field = self._value = b""

    def _end(self) -> None:
        options = parse_options_header(self._headers.get(DISPOSITION))[1]
        name = options.get(b"name")
        if name is None:
            raise InvalidRequest(f"part {len(self.parts)} of the form has no name")
        self.parts.append(Part(name.decode(errors="replace"), b"".join(self._content)))

    def _finish(self) -> None:
        self.ended = True
