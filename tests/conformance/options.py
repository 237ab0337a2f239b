"""The suite's command-line options, which pytest has to know before it looks into this folder."""

import argparse

import pytest

LOOPBACK = ("localhost", "127.", "[::1]")


def add(parser: pytest.Parser) -> None:
    """Add --target and --same-host."""
    group = parser.getgroup("conformance", "conformance to the Open Inference Protocol")
    group.addoption(
        "--target", metavar="[http://]HOST:PORT", help="server to check (default: our own)"
    )
    group.addoption(
        "--same-host",
        action=argparse.BooleanOptionalAction,
        help="whether the target can open this machine's shared memory (default: on loopback)",
    )


def same_host(config: pytest.Config, address: str) -> bool:
    """Whether the target shares this machine's memory."""
    said: bool | None = config.getoption("same_host")
    return address.removeprefix("http://").startswith(LOOPBACK) if said is None else said
