"""A stock client against the server: tritonclient, in a process of its own.

Its stubs and ours both describe `package inference`, which one process cannot hold twice.
"""

import subprocess
import sys
from pathlib import Path

from tests.conftest import serving

CLIENT = Path(__file__).parent / "stock_client.py"


def test_tritonclient_finds_everything_it_asks_for(tiny_models: Path, tmp_path: Path) -> None:
    """Metadata, inference by every road of the client, streams, shared memory, and its errors."""
    with serving(tiny_models, tmp_path / "log", "--allow-client-shm") as server:
        ended = subprocess.run(
            [sys.executable, str(CLIENT), server.address],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "all calls answered"
