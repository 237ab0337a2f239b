"""Who a client is, as services see it through both front ends: its address and its certificate."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from cryptography import x509

from crossrun_server.fronts import certificates as reading
from crossrun_server.fronts import choice
from crossrun_server.fronts.choice import FrontName
from crossrun_server.services.direct.call import DirectCall
from tests.support import certificates, fronts
from tests.support.certificates import Pair, named

AUTHORITY = trustme.CA()
ALICE = named(
    AUTHORITY,
    "alice",
    x509.DNSName("alice.example"),
    x509.UniformResourceIdentifier("spiffe://example/alice"),
)
ON_LOOP, ON_THREADS = "/test.Who/OnLoop", "/test.Who/OnThreads"
KINDS = ("x509_common_name", "x509_subject_alternative_name")


def told(peer: str, found: Mapping[str, Sequence[bytes]]) -> bytes:
    names = {kind: sorted(one.decode() for one in found.get(kind, ())) for kind in KINDS}
    return json.dumps({"peer": peer, **names}).encode()


async def on_loop(_: object, context: Any) -> bytes:
    return told(context.peer(), context.auth_context())


class OnThreads:
    """Answers on the thread that takes the call."""

    places = 1

    def __call__(self, call: DirectCall) -> bool:
        """Answer with who has called."""
        call.reply(told(call.peer(), call.auth_context()), "")
        return True


def register(server: Any) -> None:
    handler: Any = grpc.unary_unary_rpc_method_handler(on_loop, None, bytes)
    both = {path.rpartition("/")[2]: handler for path in (ON_LOOP, ON_THREADS)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Who", both),))
    server.add_registered_method_handlers("test.Who", both)


@pytest.mark.parametrize("path", [ON_LOOP, ON_THREADS])
def test_a_service_sees_the_names_in_a_clients_certificate(
    front: str, path: str, tmp_path: Path
) -> None:
    """The common name, and the alternative names of DNS and as URI."""
    files = certificates.put(tmp_path, certificates.issued(AUTHORITY), AUTHORITY)
    shown = reading.load(files, choice.chosen(FrontName(front)).secure)
    served = fronts.served(register, {ON_THREADS: OnThreads()}, certificates=shown)
    who = fronts.asked(front, served, lambda port: asked(port, path, ALICE))
    assert who["x509_common_name"] == ["alice"]
    assert who["x509_subject_alternative_name"] == ["alice.example", "spiffe://example/alice"]
    assert who["peer"].startswith("ipv4:127.0.0.1:")


@pytest.mark.parametrize("path", [ON_LOOP, ON_THREADS])
def test_a_client_without_a_certificate_has_an_address_only(front: str, path: str) -> None:
    """As each client of a plain port."""
    served = fronts.served(register, {ON_THREADS: OnThreads()})
    who = fronts.asked(front, served, lambda port: asked(port, path, None))
    assert who["peer"].startswith("ipv4:127.0.0.1:")
    assert [who[kind] for kind in KINDS] == [[], []]


def asked(port: int, path: str, own: Pair | None) -> dict[str, Any]:
    address = f"127.0.0.1:{port}"
    opened = (
        certificates.channel(address, AUTHORITY, own) if own else grpc.insecure_channel(address)
    )
    with opened:
        ask: Any = opened.unary_unary(path)
        answer: dict[str, Any] = json.loads(ask(b""))
        return answer
