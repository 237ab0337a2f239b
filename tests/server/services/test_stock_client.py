"""A stock client against the server: tritonclient, in a process that has nothing of ours."""

from pathlib import Path

import pytest

from tests.support import example_models
from tests.support.running import run_client, serving


@pytest.mark.parametrize("client", ["stock_client", "stock_memory"])
def test_tritonclient_finds_everything_it_asks_for(
    tiny_models: Path, tmp_path: Path, client: str
) -> None:
    """Metadata, inference by every road of the client, streams, shared memory, and its errors."""
    with serving(tiny_models, tmp_path / "log", "--shared-memory") as server:
        run_client(client, server.address)


@pytest.mark.parametrize("client", ["stock_examples", "stock_images"])
def test_triton_s_examples_find_what_they_ask_for(tmp_path: Path, client: str) -> None:
    """Their models, the server's name and its words are as they expect them."""
    repository = example_models.write_all(tmp_path / "models")
    options = ["--server-name", "triton", "--shared-memory", "--no-exit-on-error"]
    control = ["--model-control-mode", "explicit", "--load-model", "*"]
    with serving(repository, tmp_path / "log", *options, *control) as server:
        run_client(client, server.address)
