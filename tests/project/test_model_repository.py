"""docs/model-repository.md: the contract in which the areas meet, and share no code."""

import logging
import re
from pathlib import Path

import pytest

from crossrun_server.model_config import config
from tests.support.running import ROOT
from tests.support.tracked import text_of, tracked

TEXT = (ROOT / "docs" / "model-repository.md").read_text("utf-8")
KEY = re.compile(r'"(crossrun\.[a-z_0-9]+)"')


def test_every_key_that_an_area_reads_or_writes_is_described() -> None:
    """Keys of an ONNX file's metadata, and those that the server writes into a configuration."""
    sources = map(text_of, tracked("server/*.py", "bench/*.py", "export/*.py"))
    spelt = {key for source in sources for key in KEY.findall(source)}
    assert sorted(key for key in spelt if f"| `{key}`" not in TEXT) == []


def parameters() -> list[str]:
    """The keys of `parameters` that the document describes; an option stands for all."""
    section = TEXT.partition("## Keys of `parameters`")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.M)
    keys = [key for cell in cells for key in re.findall(r"`([\w.]+)`", cell)]
    return ["openvino.device_type" if key == "NAME.KEY" else key for key in keys]


@pytest.mark.parametrize("key", parameters())
def test_the_server_takes_every_parameter_that_is_described(
    key: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not say of one that it has no effect."""
    entry = f'parameters {{ key: "{key}" value {{ string_value: "1" }} }}'
    (tmp_path / "config.pbtxt").write_text(entry)
    with caplog.at_level(logging.WARNING):
        assert config.read(tmp_path) is not None
    assert caplog.text == ""
