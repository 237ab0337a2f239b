"""A stock client over HTTP: tritonclient.http, in a process that has nothing of ours."""

from pathlib import Path

from tests.support.running import HTTP, run_client, serving


def test_tritonclient_finds_everything_it_asks_for(tiny_models: Path, tmp_path: Path) -> None:
    """Metadata, inference by every road of the client, shared memory, settings, and its errors."""
    with serving(tiny_models, tmp_path / "log", *HTTP, "--shared-memory") as server:
        run_client("stock_http", server.http.removeprefix("http://"))
