"""Triton's restricted protocols: groups of RPCs that need a header with a certain value.

Source: https://github.com/triton-inference-server/server
(docs/customization_guide/inference_protocols.md). Triton answers UNAVAILABLE, which clients take
for a reason to try again; here it is UNAUTHENTICATED.
"""

import hmac
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from crossrun_server.access.callers import Sender
from crossrun_server.access.rules import PROTOCOLS
from crossrun_server.access.tokens import only
from crossrun_server.errors import ServingError, Unauthenticated

OPTION = "--grpc-restricted-protocol"
PREFIX = "triton-grpc-protocol-"
KEY = re.compile(r"[0-9a-z_.-]+")  # of gRPC's metadata


class Needed(NamedTuple):
    """A header that a call has to have."""

    name: str
    value: str


Restrictions = Mapping[str, Needed]  # by protocol


def parse(options: Iterable[str]) -> Restrictions:
    """Read Triton's options `PROTOCOL,…:KEY=VALUE`.

    Raises:
        ServingError: an option does not have this form, or a protocol is unknown or given twice.
    """
    found: dict[str, Needed] = {}
    for option in options:
        named, _, pair = option.partition(":")
        key, _, value = pair.partition("=")
        if not KEY.fullmatch(key.lower()) or not value:
            raise ServingError(f"{OPTION} is {named!r} and no more, or has no key or value that a "
                               "header may have: expected PROTOCOL,…:KEY=VALUE")  # fmt: skip
        for protocol in named.split(","):
            _check(protocol, found)
            found[protocol] = Needed(PREFIX + key.lower(), value)
    return found


def check(needed: Needed, sender: Sender) -> None:
    """Refuse a call without the header that it needs.

    Raises:
        Unauthenticated: it has none, or one of another value.
    """
    value = only(sender.invocation_metadata() or (), needed.name)
    if value is None or not hmac.compare_digest(value.encode(), needed.value.encode()):
        raise Unauthenticated(f"This protocol is restricted, expecting header {needed.name!r}")


def _check(protocol: str, found: Restrictions) -> None:
    if protocol not in PROTOCOLS:
        raise ServingError(
            f"{OPTION}: unknown restricted protocol {protocol!r}, expected {', '.join(PROTOCOLS)}"
        )
    if protocol in found:
        raise ServingError(
            f"{OPTION}: protocol {protocol!r} can not be specified in multiple config groups"
        )
