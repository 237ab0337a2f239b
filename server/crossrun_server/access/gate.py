"""The one gate: every call of every RPC comes through it, and every scrape of the metrics.

Without tokens everybody is let in. On a port that others than this machine can reach, that does not
hold for what controls the server. Knows neither gRPC nor HTTP.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from crossrun_server.access import restrictions
from crossrun_server.access.callers import ANYBODY, FROM_AFAR, UNKNOWN, Caller, Scope, Sender
from crossrun_server.access.rules import HEALTH, PROTOCOLS, RULES, SERVICES, Rule, rule_of
from crossrun_server.access.tokens import HEADER, Tokens
from crossrun_server.errors import Forbidden, Unauthenticated

log = logging.getLogger(__name__)

NEEDED = (
    f"this call needs a token, as '{HEADER}: Bearer TOKEN', or a client certificate that the "
    "server knows"
)
SCRAPE = Rule("", Scope.READ)  # the metrics of all models


@dataclass(frozen=True)
class AccessConfig:
    """Who may call, as the command line says it."""

    tokens: Path | None = None
    restricted: tuple[str, ...] = ()  # Triton's PROTOCOL,…:KEY=VALUE
    remote_control: bool = False  # whether everybody may control a server that others can reach
    audit_log: str = ""  # a file; empty: the log


class Gate:
    """Lets calls in.

    Args:
        config: who may call.
        remote: whether others than this machine can reach the port.

    Raises:
        ServingError: the tokens cannot be read, or an option is not understood.
    """

    def __init__(self, config: AccessConfig, *, remote: bool) -> None:
        self._config, self._remote = config, remote
        self._tokens = Tokens(config.tokens) if config.tokens else None
        self._restrictions = restrictions.parse(config.restricted)
        self._anybody = FROM_AFAR if remote and not config.remote_control else ANYBODY

    @property
    def asks(self) -> bool:
        """Whether callers have to say who they are."""
        return self._tokens is not None

    def warn(self, host: str) -> None:
        """Log what is open to everybody who can reach a host, if others than this machine can."""
        if not self._remote or self._tokens:
            return
        allowed = self._config.remote_control
        control = "allowed (--allow-remote-control)" if allowed else "refused"
        log.warning(
            "--host %s can be reached from other machines, and without --auth-tokens nobody is "
            "asked who they are: open are %s and the metrics; loads, shared memory, trace and log "
            "settings are %s",
            host, ", ".join(self._open()), control,
        )  # fmt: skip

    def _open(self) -> list[str]:
        """Name the protocols of which anybody may use a part."""
        scopes = self._anybody.scopes
        usable = {rule.protocol for rule in RULES.values() if rule.scope in (None, *scopes)}
        return [one for one in PROTOCOLS if one in usable and one not in self._restrictions]

    def entrance(self, method: str) -> Callable[[Sender], Caller]:
        """Return what lets in the calls of a method, before their messages are read.

        Args:
            method: its path.

        Returns:
            A function of who sends a call; it returns the caller. It raises Unauthenticated if
            nobody knows who that is, Forbidden if the caller may not make this call.
        """
        rule = rule_of(method)
        enter = partial(self._enter, method, rule)
        if rule.protocol in self._restrictions:
            return enter
        if self._tokens:
            return _remembering(self._tokens, rule, enter)
        anybody = self._anybody
        return (lambda _: anybody) if _may(anybody, rule) else enter

    def reading(self, method: str, read: Callable[[Any], Any]) -> Callable[[Any, Sender], Any]:
        """Wrap what reads the messages of a method: it reads those of callers who may send them.

        Args:
            method: its path.
            read: makes a request of a message.

        Returns:
            A function of a message and of who sends it. It raises Unauthenticated or Forbidden,
            also if the request names a model that the caller may not use.
        """
        rule, enter = rule_of(method), self.entrance(method)

        def admitted(message: Any, sender: Sender) -> Any:
            caller = enter(sender)
            request = read(message)
            if rule.model and caller.limited:
                _check_model(caller, rule, request)
            return request

        return admitted

    def scrape(self, authorization: str) -> None:
        """Let in a scrape of the metrics, which tell of all models.

        Args:
            authorization: the header of that name; empty if there is none.

        Raises:
            Unauthenticated, Forbidden: see `entrance`.
        """
        caller = self._caller(SCRAPE, _Scrape(authorization))
        if not _may(caller, SCRAPE):
            raise Forbidden(_why_not(caller, "the metrics", SCRAPE))
        if caller.limited:
            raise Forbidden(f"{caller} may not use all models, and the metrics tell of all")

    def who(self, sender: Sender) -> Caller:
        """Return who makes a call, as far as it can be told."""
        try:
            return (self._tokens.caller(sender) or UNKNOWN) if self._tokens else self._anybody
        except Unauthenticated:
            return UNKNOWN

    def _enter(self, method: str, rule: Rule, sender: Sender) -> Caller:
        caller = self._caller(rule, sender)
        if not _may(caller, rule):
            raise Forbidden(_why_not(caller, method.rpartition("/")[2], rule))
        return caller

    def _caller(self, rule: Rule, sender: Sender) -> Caller:
        if needed := self._restrictions.get(rule.protocol):
            restrictions.check(needed, sender)
        if self._tokens is None:
            return ANYBODY if needed else self._anybody  # who has the header is not just anybody
        caller = self._tokens.caller(sender)
        if caller is None and not (rule.opened and self._tokens.opens(rule.opened)):
            raise Unauthenticated(NEEDED)
        return caller or UNKNOWN


class _Scrape(NamedTuple):
    """Who sends an HTTP request."""

    authorization: str

    def invocation_metadata(self) -> list[tuple[str, str | bytes]]:
        return [(HEADER, self.authorization)] if self.authorization else []

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}


def permitted(caller: Caller, method: str, answer: Any) -> Any:
    """Return an answer without the models that a caller may not use."""
    listing = rule_of(method).listing
    if listing is None or not caller.limited:
        return answer
    entries = getattr(answer, listing.field)
    for at in reversed(range(len(entries))):
        if not caller.may_use(getattr(entries[at], listing.name)):
            del entries[at]
    return answer


def _remembering(
    tokens: Tokens, rule: Rule, enter: Callable[[Sender], Caller]
) -> Callable[[Sender], Caller]:
    """Let in at once whoever has been let in before; this is on the way of every request."""
    known, scope = tokens.known, rule.scope

    def remembered(sender: Sender) -> Caller:
        caller = known(sender)
        if caller is not None and (scope is None or scope in caller.scopes):
            return caller
        return enter(sender)

    return remembered


def _may(caller: Caller, rule: Rule) -> bool:
    return rule.scope is None or rule.scope in caller.scopes


def _check_model(caller: Caller, rule: Rule, request: Any) -> None:
    # A ModelInferRequest comes with its raw tensors beside it.
    name = attrgetter(rule.model)(getattr(request, "message", request))
    if (not name and rule.unnamed) or (rule.protocol == HEALTH and name in SERVICES):
        return
    if caller is UNKNOWN:
        raise Unauthenticated(NEEDED)
    caller.require_model(name)


def _why_not(caller: Caller, what: str, rule: Rule) -> str:
    if caller is FROM_AFAR:
        return (
            f"{what} is refused: others than this machine can reach the server, and it asks "
            "nobody who they are; --allow-remote-control allows it, --auth-tokens asks"
        )
    has = ", ".join(sorted(caller.scopes)) or "none"
    return f"{what} needs the scope {rule.scope}; {caller} has {has}"
