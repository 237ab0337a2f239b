"""Servers with TLS, asked by an address that names certificates."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from crossrun_bench.errors import BenchError
from crossrun_bench.targets.channels import channel
from tests.support import certificates
from tests.support.pictures import plain
from tests.support.running import Command, Server, serving

AUTHORITY = trustme.CA()


@pytest.fixture(scope="module")
def mutual(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that demands certificates of its clients."""
    folder = tmp_path_factory.mktemp("files")
    files = certificates.put(folder, certificates.issued(AUTHORITY), AUTHORITY)
    with serving(colours, folder / "log", *certificates.options(files, mutual=True)) as running:
        yield running


def test_a_server_that_demands_a_certificate_is_asked(
    mutual: Server, tmp_path: Path, run: Command
) -> None:
    """With the files that the address names."""
    own = certificates.issued(AUTHORITY, "alice")
    for name, content in (("own.pem", own.certificate), ("own.key", own.key)):
        (tmp_path / name).write_bytes(content)
    roots = mutual.log.with_name("roots.pem")
    files = f"sslrootcert={roots}&sslcert={tmp_path}/own.pem&sslkey={tmp_path}/own.key"
    address = f"grpcs://{mutual.address}?{files}"
    (tmp_path / "red.png").write_bytes(plain(255, 0, 0))
    done = run("crossrun-bench", "classify", tmp_path / "red.png", "--target", address, "--json")
    assert done.returncode == 0, done.stderr
    ((best, *_),) = json.loads(done.stdout).values()
    assert best[0] == "red"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("sslmode=require", "'sslmode' in an address: expected sslrootcert, sslcert, sslkey"),
        ("sslrootcert=nowhere.pem", "sslrootcert=nowhere.pem: cannot be read: No such file"),
    ],
)
def test_an_address_that_means_nothing_is_refused(query: str, told: str) -> None:
    """With the part that means nothing."""
    with pytest.raises(BenchError) as caught:
        channel(f"grpcs://localhost:8001?{query}")
    assert str(caught.value).startswith(told)
