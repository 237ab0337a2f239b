"""What clients last asked for each model, in a file, for the next start of the server.

So a server that is killed comes back with the models that it had. Loads nothing.
"""

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock

from crossrun_server.errors import ServingError

log = logging.getLogger(__name__)

FORMAT = 1


@dataclass(frozen=True)
class LastWord:
    """What a client last asked for a model."""

    loaded: bool
    config: str | None = None  # a ModelConfig as JSON that came with the load


class StateFile:
    """The last words on all models. Safe for all threads.

    Args:
        path: the file; if it is there, it is read.

    Raises:
        ServingError: it is damaged, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self.models: dict[str, LastWord] = _read(path)
        try:
            self._write()
        except OSError as error:
            raise ServingError(
                f"--state-file {path} cannot be written: {error.strerror}"
            ) from error

    def loaded(self, name: str, config: str | None, *, sent: bool) -> None:
        """Keep that a model was loaded; if its files were sent, it is forgotten, for they are."""
        if sent:
            log.warning("%s is not kept for the next start: its files are not on the disk", name)
        self._note(name, None if sent else LastWord(loaded=True, config=config))

    def unloaded(self, name: str) -> None:
        """Keep that a model was unloaded."""
        self._note(name, LastWord(loaded=False))

    def _note(self, name: str, word: LastWord | None) -> None:
        with self._lock:
            self.models.pop(name, None)
            if word is not None:
                self.models[name] = word
            try:
                self._write()
            except OSError as error:
                log.error("the state of %s is not kept for the next start: %s", name, error)

    def _write(self) -> None:
        """Replace the file by another, which is on the disk before it has the name."""
        models = {name: asdict(word) for name, word in self.models.items()}
        folder = self._path.absolute().parent
        with NamedTemporaryFile("w", dir=folder, delete=False, encoding="utf-8") as part:
            try:
                json.dump({"format": FORMAT, "models": models}, part, indent=1)
                part.flush()
                os.fsync(part.fileno())
                Path(part.name).replace(self._path)
            except OSError:
                Path(part.name).unlink(missing_ok=True)
                raise


def _read(path: Path) -> dict[str, LastWord]:
    try:
        return _words(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ServingError(
            f"--state-file {path} cannot be read: {' '.join(str(error).split())}; expected what "
            "the server writes, or no such file"
        ) from error


def _words(kept: object) -> dict[str, LastWord]:
    if not isinstance(kept, dict) or kept.keys() != {"format", "models"}:
        raise ValueError("it is no object of a format and models")
    if kept["format"] != FORMAT or not isinstance(kept["models"], dict):
        raise ValueError(f"its format is {kept['format']!r}, expected {FORMAT}, with models")
    return {name: _word(name, word) for name, word in kept["models"].items()}


def _word(name: str, word: object) -> LastWord:
    match word:
        case {"loaded": bool(loaded), "config": str(config)}:
            return LastWord(loaded=loaded, config=config)
        case {"loaded": bool(loaded), "config": None}:
            return LastWord(loaded=loaded)
    raise ValueError(f"of {name!r} it says no loaded, true or false, or no config")
