"""Who calls, and what that caller may do. Knows no files and no gRPC."""

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Protocol

from crossrun_server.errors import Forbidden

ALL = "*"


class Scope(StrEnum):
    """What a caller may do."""

    INFER = "infer"
    READ = "read"  # metadata, configurations, statistics, the index, metrics
    CONTROL = "control"  # loads, shared memory, trace and log settings, and whatever is unknown


class Sender(Protocol):
    """A call, as far as it tells who makes it."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Return what the client has sent along."""

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Return what the connection says of the client, as gRPC names it."""


@dataclass(frozen=True)
class Caller:
    """Who calls."""

    kind: str  # token, certificate; empty if nobody was asked
    name: str
    scopes: frozenset[Scope]
    models: tuple[str, ...] = (ALL,)  # patterns, as in a shell

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}" if self.kind else self.name

    @property
    def limited(self) -> bool:
        """Whether there may be models that the caller may not use."""
        return ALL not in self.models

    def may_use(self, model: str) -> bool:
        """Whether a model is among those of the caller; whether it exists makes no difference."""
        return not self.limited or _pattern(self.models).match(model) is not None

    def require_model(self, name: str) -> None:
        """Refuse a model that is not the caller's.

        Args:
            name: of the model; an empty one, which leaves the choice to the server, is nobody's.

        Raises:
            Forbidden: the caller may not use it.
        """
        if not self.may_use(name):
            raise Forbidden(f"{self} may not use the model {name!r}")


@lru_cache(maxsize=256)
def _pattern(models: tuple[str, ...]) -> re.Pattern[str]:
    """Make one expression of a caller's patterns."""
    return re.compile("|".join(map(fnmatch.translate, models)) or "(?!)")


ANYBODY = Caller(kind="", name="anybody", scopes=frozenset(Scope))  # where nobody is asked
FROM_AFAR = Caller(kind="", name="anybody", scopes=frozenset({Scope.INFER, Scope.READ}))
UNKNOWN = Caller(kind="", name="unknown", scopes=frozenset(), models=())
