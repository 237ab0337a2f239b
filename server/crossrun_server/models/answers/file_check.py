"""Checks that a model's files hold the bytes that its proof was written for.

Changed bytes may load, run, and answer within the tolerance. A model without a proof, or with one
from before there were checksums, is not checked.
"""

from pathlib import Path

from crossrun_server import disk_cache
from crossrun_server.errors import LoadError
from crossrun_server.models import layout
from crossrun_server.proofs import proof_file


def check(file: Path) -> None:
    """Compare the checksums in the proof beside a model with the files that they are of.

    Args:
        file: the model's. If the proof has no checksum of it, the proof's files are others, and
            nothing is compared.

    Raises:
        LoadError: a file is missing or has other bytes, or the proof is damaged.
    """
    proof = proof_file.read(file)
    if proof is None or file.name not in proof.sha256:
        return
    for name, expected in proof.sha256.items():
        found = _digest(file.parent, name)
        if found != expected:
            raise LoadError(
                f"{name} is damaged, or is not what {proof_file.FILE} was written for: its SHA-256 "
                f"is {found}, expected {expected}; copy or export the model again, or delete "
                f"{proof_file.FILE} if {name} was changed on purpose"
            )


def _digest(folder: Path, name: str) -> str:
    path = layout.inside(folder, name)
    try:
        return disk_cache.digest(path).hexdigest()
    except OSError as error:
        raise LoadError(
            f"{name}, which {proof_file.FILE} has the checksum of, cannot be read: {error.strerror}"
        ) from error
