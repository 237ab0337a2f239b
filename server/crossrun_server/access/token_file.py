"""Reads the file of tokens, which is TOML, and makes what it says of a new token.

The file holds hashes: who reads it cannot use the tokens. A hash of SHA-256 is enough, because a
token is 32 bytes of chance and no password, so there is nothing to guess.
"""

import hashlib
import json
import re
import secrets
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from crossrun_server.access import rules
from crossrun_server.access.callers import ALL, Caller, Scope
from crossrun_server.errors import ServingError

TOKEN, CERTIFICATE, OPEN = "token", "certificate", "open"
HASH = re.compile(r"[0-9a-f]{64}")
BYTES = 32  # of chance in a token

Entry = Mapping[str, Any]
K = TypeVar("K")


@dataclass(frozen=True)
class Known:
    """What a file says."""

    tokens: Mapping[bytes, Caller]  # by the sha256 of the token
    certificates: Mapping[str, Caller]  # by name
    open: frozenset[str]  # what needs no caller, of rules.OPENABLE
    verified: dict[str, Caller] = field(default_factory=dict)  # tokens that came, by their header


def read(path: Path) -> Known:
    """Read a file of tokens.

    Raises:
        ServingError: it cannot be read, or says what is not understood; the message says where.
    """
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError, _Wrong) as error:
        raise ServingError(f"cannot read the tokens of {path}: {error}") from error


def make(name: str, scopes: Iterable[str], models: Iterable[str]) -> tuple[str, str]:
    """Make a token; returns it, and the lines of the file that let it in.

    Raises:
        ServingError: the file could not say so: a scope is unknown, or a text is empty.
    """
    token = secrets.token_urlsafe(BYTES)
    entry = {
        "name": name,
        "sha256": hashlib.sha256(token.encode()).hexdigest(),
        "scopes": list(scopes),
        "models": list(models),
    }
    # JSON writes texts and lists of texts as TOML does.
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in entry.items())
    text = f"[[{TOKEN}]]\n{lines}"
    try:
        _parsed(text)
    except (tomllib.TOMLDecodeError, _Wrong) as error:
        raise ServingError(f"cannot make a token: {error}") from error
    return token, text


class _Wrong(ValueError):  # noqa: N818 - named as the errors of the server are
    """Something in a file that is not understood."""


def _parsed(text: str) -> Known:
    document = tomllib.loads(text)
    _check_keys(document, {OPEN, TOKEN, CERTIFICATE}, "the file")
    return Known(
        tokens=_callers(document, TOKEN, {"sha256"}, _hash),
        certificates=_callers(document, CERTIFICATE, (), _name),
        open=frozenset(_words(document, OPEN, rules.OPENABLE, [])),
    )


def _callers(
    document: Entry, kind: str, own: Collection[str], key: Callable[[Entry], K]
) -> dict[K, Caller]:
    """Read the tables of one kind; returns the callers by what they are known by."""
    found: dict[K, Caller] = {}
    names: set[str] = set()
    for entry in _tables(document, kind):
        caller = _caller(kind, entry, own)
        if key(entry) in found or caller.name in names:
            raise _Wrong(f"{caller} is there twice")
        found[key(entry)] = caller
        names.add(caller.name)
    return found


def _tables(document: Entry, key: str) -> list[Entry]:
    found = document.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise _Wrong(f"{key} is no list of tables, which begin with [[{key}]]")
    return found


def _caller(kind: str, entry: Entry, own: Collection[str]) -> Caller:
    name = _name(entry)
    _check_keys(entry, {"name", "scopes", "models", *own}, f"{kind} {name!r}")
    scopes = _words(entry, "scopes", list(Scope))
    models = _words(entry, "models", None, [ALL])
    return Caller(kind=kind, name=name, scopes=frozenset(map(Scope, scopes)), models=tuple(models))


def _name(entry: Entry) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not name or not name.isprintable():
        raise _Wrong(f"name is {name!r}, expected a text of one line")
    return name


def _hash(entry: Entry) -> bytes:
    given = entry.get("sha256")
    if not isinstance(given, str) or not HASH.fullmatch(given):
        raise _Wrong(f"sha256 of token {entry['name']!r} is no hash of 64 digits, 0-9 and a-f")
    return bytes.fromhex(given)


def _words(
    entry: Entry, key: str, known: Collection[str] | None, default: list[str] | None = None
) -> list[str]:
    """Read a list of words; without a default it must be there."""
    found = entry.get(key, default)
    if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
        raise _Wrong(f"{key} is {found!r}, expected a list of texts")
    if known is not None and (strays := [one for one in found if one not in known]):
        raise _Wrong(f"{key} has {strays[0]!r}, expected {', '.join(known)}")
    return found


def _check_keys(entry: Entry, known: Collection[str], where: str) -> None:
    if strays := sorted(set(entry) - set(known)):
        raise _Wrong(f"{where} has {strays[0]!r}, expected {', '.join(sorted(known))}")
