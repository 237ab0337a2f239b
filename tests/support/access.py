"""Files of tokens, and calls with what is in them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

Metadata = tuple[tuple[str, str], ...]
FOREIGN = "a-token-of-another-server"


def bearer(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)


def entry(token: str, *scopes: str, models: Sequence[str] = ("*",)) -> str:
    """Say in TOML what a token is for; its name in the file is the token itself."""
    return (
        "[[token]]\n"
        f'name = "{token}"\n'
        f'sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\n'
        f"scopes = {json.dumps(scopes)}\n"
        f"models = {json.dumps(models)}\n"
    )


def write(path: Path, *entries: str) -> Path:
    """Write a file of tokens as an operator should: under another name, and then renamed."""
    part = path.with_suffix(".part")
    part.write_text("".join(entries))
    part.replace(path)
    return path


def call(
    channel: grpc.Channel, path: str, message: bytes | Message, metadata: Metadata = ()
) -> grpc.StatusCode:
    """Call a unary RPC; returns how it ended."""
    data = message if isinstance(message, bytes) else message.SerializeToString()
    ended: Any = channel.unary_unary(path)
    code: grpc.StatusCode = ended.future(data, metadata=metadata, timeout=60).code()
    return code
