"""What the texts of options mean. Each function raises BenchError if a text means nothing."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from crossrun_bench import providers
from crossrun_bench.errors import BenchError
from crossrun_bench.models.model import Model
from crossrun_bench.targets import environments
from crossrun_bench.targets.environments import Backend


def words(text: str) -> list[str]:
    """What stands between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def shell_words(text: str) -> list[str]:
    """A provider and its options, as a shell reads words."""
    try:
        found = shlex.split(text)
    except ValueError as error:
        raise BenchError(f"--variant {text!r}: {error}") from error
    if not found:
        raise BenchError("--variant '': expected a provider, such as 'openvino num_of_threads=1'")
    return found


def backends(asked: Sequence[Sequence[str]], given: Sequence[str] | None) -> list[Backend]:
    """Where to find each provider, asked for by its name and options KEY=VALUE."""
    named = folders(given)
    found = [providers.asked(name, options) for name, *options in asked]
    return [environments.backend(provider, named) for provider in found]


def folders(given: Sequence[str] | None) -> dict[str, Path]:
    """Environments that were named, by provider."""
    return dict(map(environment, given or []))


def environment(text: str) -> tuple[str, Path]:
    """NAME=DIR."""
    name, _, folder = text.partition("=")
    if not name or not folder:
        raise BenchError(f"--environment '{text}': expected NAME=DIR")
    return name, Path(folder)


def server(text: str) -> tuple[str, str]:
    """NAME=HOST:PORT; files may be named behind the port, see `channels`."""
    name, _, address = text.partition("=")
    if not name or not address.partition("?")[0].rpartition(":")[2].isdecimal():
        raise BenchError(f"--server '{text}': expected NAME=HOST:PORT")
    return name, address


def clients(text: str, *, default: bool) -> Sequence[int]:
    """Numbers of clients; some where none are given and `default` says so."""
    return sizes(text or "1,4,16", "--clients", "1,4,16") if text or default else ()


def batches(text: str, default: str, model: Model) -> Sequence[int]:
    """Numbers of pictures in a request; 1 alone for a model that takes one at a time."""
    if not model.single:
        return sizes(text or default)
    if text and sizes(text) != (1,):
        raise BenchError(f"--batch '{text}': {model.name} takes one picture at a time")
    return (1,)


def sizes(text: str, option: str = "--batch", such: str = "1,8,32") -> Sequence[int]:
    """Whole numbers from 1, each once."""
    found = words(text)
    if not found or not all(word.isdecimal() and int(word) > 0 for word in found):
        raise BenchError(f"{option} '{text}': expected whole numbers from 1, such as {such}")
    return tuple(dict.fromkeys(int(word) for word in found))


def tiles(text: str) -> tuple[int, int] | None:
    """COLUMNSxROWS; nothing for no tiles."""
    columns, _, rows = text.partition("x")
    if not text:
        return None
    if not all(word.isdecimal() and int(word) > 0 for word in (columns, rows)):
        raise BenchError(f"--tiles '{text}': expected columns and rows, such as 2x2")
    return int(columns), int(rows)
