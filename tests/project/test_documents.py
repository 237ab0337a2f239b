"""The documents: their links lead somewhere, and their command lines can be typed."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer

from tests.support.running import ROOT
from tests.support.tracked import text_of, tracked

LINK = re.compile(r"\]\(([^()\s]+)\)|^\[[^]]+\]: (\S+)|<(?:img|a) [^>]*(?:src|href)=\"([^\"]+)\"")
HEADING = re.compile(r"^#{1,6} (.+?)\s*#*$")
FENCE = re.compile(r"^\s*(```|~~~)")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
MODULE = re.compile(r"`([\w/]+\.py)`")
COMMAND = re.compile(r"^(?:\S*/)?(crossrun-(?:export|serve|bench))$")
# Ends one command of a line and begins the next.
SEPARATORS = {"&&", "||", "|", "&", ";"}


@dataclass(frozen=True)
class Line:
    """One line of a document."""

    document: Path
    number: int
    text: str
    code: bool

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.number}"


def documents() -> list[Path]:
    return tracked("*.md")


@cache
def lines(document: Path) -> list[Line]:
    """Its lines, each known to be code or text."""
    found, fenced = [], False
    for number, text in enumerate(document.read_text("utf-8").splitlines(), 1):
        fence = FENCE.match(text) is not None
        fenced ^= fence
        code = fenced or fence or text.startswith("    ")
        found.append(Line(document, number, text, code))
    return found


# --- Links -----------------------------------------------------------------------------------


def links() -> Iterator[tuple[Line, str]]:
    for document in documents():
        for line in lines(document):
            if not line.code:
                text = re.sub(r"`[^`]*`", "", line.text)
                for found in LINK.finditer(text):
                    yield line, next(target for target in found.groups() if target)


def test_every_link_leads_somewhere() -> None:
    """To a file or folder that git keeps, and to a heading if it names one."""
    kept = {path for file in tracked() for path in (file, *file.parents)}
    lost = [
        f"{line}: {target}"
        for line, target in links()
        if not re.match(r"[a-z]+:", target) and not leads(line.document, target, kept)
    ]
    assert lost == []


def leads(document: Path, target: str, kept: set[Path]) -> bool:
    path, _, anchor = unquote(target).partition("#")
    file = (document.parent / path).resolve() if path else document
    return file in kept and (not anchor or anchor in anchors(file))


@cache
def anchors(document: Path) -> set[str]:
    """The names that GitHub gives to its headings."""
    found: list[str] = []
    for line in lines(document):
        heading = HEADING.match(line.text)
        if heading and not line.code:
            name = slug(heading[1])
            found.append(f"{name}-{found.count(name)}" if name in found else name)
    return set(found)


def slug(heading: str) -> str:
    shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("What it is not", "what-it-is-not"),
        ("`proof.npz`", "proofnpz"),
        ("Batches of [fixed](a.md) sizes: 1, 2", "batches-of-fixed-sizes-1-2"),
        ("fp32 stays fp32", "fp32-stays-fp32"),
    ],
)
def test_headings_are_named_as_github_names_them(heading: str, expected: str) -> None:
    """Without punctuation and in small letters, with hyphens for spaces."""
    assert slug(heading) == expected


def test_every_test_that_a_document_names_is_there() -> None:
    """A line that names a test as its proof has one."""
    named = [
        (line, file, test)
        for document in documents()
        for line in lines(document)
        for file, test in TEST.findall(line.text)
    ]
    lost = [
        f"{line}: {file}::{test}"
        for line, file, test in named
        if not (ROOT / file).exists() or f"def {test}(" not in text_of(ROOT / file)
    ]
    assert lost == []


def test_every_module_of_the_architecture_is_there() -> None:
    """Its walks lead through rooms that exist, by the end of their path."""
    there = [f"/{path.relative_to(ROOT)}" for path in tracked("*.py")]
    lost = [
        f"{line}: {module}"
        for line in lines(ROOT / "docs" / "architecture.md")
        for module in MODULE.findall(line.text)
        if not any(path.endswith(f"/{module}") for path in there)
    ]
    assert lost == []


# --- Commands --------------------------------------------------------------------------------


def commands() -> list[Any]:
    """The command lines of all code blocks: where each stands, the command, and its words."""
    return [
        pytest.param(*command, id=f"{line}-{command[0]}")
        for document in documents()
        for line, text in joined(lines(document))
        for command in typed(text)
    ]


def joined(document: list[Line]) -> Iterator[tuple[Line, str]]:
    """The code of a document, with lines that end in a backslash made one with the next."""
    started: Line | None = None
    text = ""
    for line in document:
        if not line.code:
            continue
        started = started or line
        text += line.text.rstrip().removesuffix("\\") + " "
        if not line.text.rstrip().endswith("\\"):
            yield started, text
            started, text = None, ""


def typed(text: str) -> Iterator[tuple[str, list[str]]]:
    """The project's commands in a line of a shell, each with its words."""
    command: list[str] = []
    for word in [*shell_words(text), ";"]:
        if word in SEPARATORS:
            if command and (found := COMMAND.match(command[0])):
                yield found[1], command[1:]
            command = []
        # Before the command: a prompt, and variables of the environment.
        elif command or not re.match(r"\$$|\w+=", word):
            command.append(word)


def shell_words(text: str) -> list[str]:
    """The words of a line, without those that stand for others; none if it is no shell's."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.wordchars += "[]…{}:,<>%$@!"
    try:
        found = list(lexer)
    except ValueError:
        return []
    # `[--name NAME]` may be left out, and `…` is anything.
    return [word.strip("[]") for word in found if word != "…"]


@pytest.fixture(scope="module")
def programs() -> Iterator[dict[str, Any]]:
    """The commands' own parsers, none of which does anything."""
    from crossrun_bench.cli import app as bench
    from crossrun_export.cli import app as export
    from crossrun_server import cli as serve

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crossrun_server.runtime.inventory.lines", list)  # of --list-providers
        yield parsers(export, bench, serve)


def parsers(export: Any, bench: Any, serve: Any) -> dict[str, Any]:
    return {
        "crossrun-export": typer.main.get_command(export),
        "crossrun-bench": typer.main.get_command(bench),
        "crossrun-serve": alone(serve.command),
        "crossrun-serve tune": alone(serve.tune_command),
        "crossrun-serve token": alone(serve.token_command),
    }


def alone(function: Any) -> Any:
    program = typer.Typer(add_completion=False)
    program.command()(function)
    return typer.main.get_command(program)


def parse(programs: dict[str, Any], name: str, words: list[str]) -> str | None:
    """What the command says against these words; nothing if it takes them."""
    if (longer := " ".join([name, *words[:1]])) in programs:
        name, words = longer, words[1:]
    command = programs[name]
    # Typer has a click of its own, or the real one, and names its family of errors nowhere.
    usage_error: Any = typer.BadParameter.__bases__
    try:
        if hasattr(command, "commands") and words[:1] != ["--help"]:
            if not words or words[0] not in command.commands:
                return f"no command {words[:1]}"
            command, words = command.commands[words[0]], words[1:]
        command.make_context(name, words)
    except typer.Exit:
        return None
    except usage_error as error:
        return str(error.format_message())
    return None


@pytest.mark.parametrize(("name", "words"), commands())
def test_every_command_line_can_be_typed(
    name: str, words: list[str], programs: dict[str, Any]
) -> None:
    """The command's own parser takes all its options and arguments."""
    assert parse(programs, name, words) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("crossrun-serve models/ --providers cpu", "No such option"),
        ("crossrun-bench latency models/", "Missing option"),
        ("make peers && .venv/bin/crossrun-bench speed models/", "no command"),
        ("IMAGES=DIR crossrun-export keras FILE.keras --output models/ --precision", "requires"),
    ],
)
def test_a_command_line_that_is_wrong_would_be_found(
    text: str, said: str, programs: dict[str, Any]
) -> None:
    """An unknown or missing option, an unknown command, or an option without its value."""
    ((name, words),) = typed(text)
    told = parse(programs, name, words)
    assert told is not None
    assert said in told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("    $ crossrun-serve models/ --provider cuda", [["models/", "--provider", "cuda"]]),
        ("crossrun-bench run quick     # in a minute", [["run", "quick"]]),
        ("crossrun-serve models/ [--provider cpu] …", [["models/", "--provider", "cpu"]]),
        ("crossrun-serve models/ & crossrun-bench run full", [["models/"], ["run", "full"]]),
        ("crossrun-serve: failed to load 'mobilenet'", []),
        ("pip install '.[cpu]'", []),
    ],
)
def test_command_lines_are_read_as_a_shell_reads_them(text: str, expected: list[Any]) -> None:
    """Without prompts, comments, and marks of what may be left out."""
    assert [words for _, words in typed(text)] == expected


def test_options_of_the_export_are_read_without_tensorflow() -> None:
    """So --help and a mistyped option are answered at once."""
    code = "import sys, crossrun_export.cli; print('tensorflow' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
