"""Results as files and as reports, on made-up values."""

import dataclasses
import json
import lzma
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from crossrun_bench import files, store
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.answers.summary import accuracy_rows
from crossrun_bench.measurements.latency.result import LatencyResult
from crossrun_bench.measurements.latency.summary import latency_rows
from crossrun_bench.measurements.result import Result
from crossrun_bench.report import html, markdown
from crossrun_bench.report.chapters import Chapter, chapters, headlines
from tests.support import loads
from tests.support.pages import Fetched
from tests.support.results import accuracy, latency
from tests.support.running import ROOT, Command
from tests.support.tracked import text_of, tracked

STUDY = ROOT / "bench" / "study.json.xz"
MARKED = re.compile(r"^<!-- crossrun-bench: ", re.M)


@pytest.fixture(scope="module")
def study() -> list[Chapter]:
    """The results that our documents show, each summarised once."""
    return chapters(store.read_all(STUDY))


@pytest.mark.parametrize("result", [latency(), accuracy(), accuracy(labels=None)])
def test_what_is_written_is_what_is_read(result: Result, tmp_path: Path) -> None:
    """A result survives its file, and nothing else is left in the folder."""
    store.write(tmp_path / "new" / "r.json", result)
    assert store.read(tmp_path / "new" / "r.json") == result
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["r.json"]


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    """A file of another format version is named, with what was expected."""
    document = store.to_document(latency()) | {"format": "crossrun-bench/99"}
    (tmp_path / "r.json").write_text(json.dumps(document))
    with pytest.raises(BenchError, match=r"expected format 'crossrun-bench/1', got .*99"):
        store.read(tmp_path / "r.json")


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"format": "crossrun-bench/1", "kind": "x"}'])
def test_what_is_no_result_is_refused(text: str, tmp_path: Path) -> None:
    """Any other JSON, or none, is refused with the file's name."""
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(BenchError, match=r"r\.json: "):
        store.read(tmp_path / "r.json")


def test_tables_are_renewed_where_a_text_asks_for_them(tmp_path: Path, run: Command) -> None:
    """What stood there goes, all else stays, and a second time changes nothing."""
    three_results: list[Result] = [latency(), latency({"onnxruntime": 3.0}), accuracy()]
    for i, result in enumerate(three_results):
        store.write(tmp_path / f"{i}.json", result)
    files = sorted(tmp_path.glob("*.json"))
    text = tmp_path / "README.md"
    text.write_text(
        "# One\n<!-- crossrun-bench: latency 2 -->\nold\n\n<!-- end -->\ntwo\n"
        "<!-- crossrun-bench: accuracy -->\n<!-- end -->\nthree\n"
    )
    for _ in range(2):
        done = run("crossrun-bench", "report", *files, "--into", text)
        assert done.returncode == 0, done.stderr
        one, two, three = text.read_text().split("<!-- end -->")
        assert one.startswith("# One\n<!-- crossrun-bench: latency 2 -->\n| Target | Batch |")
        assert "old" not in one
        assert "| ONNX Runtime | 1 | 2.9" in one
        assert two.startswith("\ntwo\n<!-- crossrun-bench: accuracy -->\n| Target | Top-1 |")
        assert three == "\nthree\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing", "no place for a table"),
        ("<!-- crossrun-bench: latency 2 -->\n<!-- end -->", "there are 1 results of this kind"),
        ("<!-- crossrun-bench: latency 1.3 -->\n<!-- end -->", "the result has 2 tables"),
        ("<!-- crossrun-bench: speed -->\n<!-- end -->", "there are 0 results of this kind"),
    ],
)
def test_a_text_that_asks_for_what_is_not_there_is_left_alone(text: str, expected: str) -> None:
    """The error tells the place."""
    with pytest.raises(BenchError, match=expected):
        markdown.renewed(text, chapters([latency()]))


def test_a_packed_file_is_read(tmp_path: Path) -> None:
    """As xz packs it; half of one is damaged, and so is what is no such file."""
    packed = lzma.compress(json.dumps(store.to_document(latency())).encode())
    file = tmp_path / "r.json.xz"
    file.write_bytes(packed)
    assert isinstance(store.read(file), LatencyResult)
    for broken in (packed[: len(packed) // 2], b"{}", packed[:20] + b"x" + packed[21:]):
        file.write_bytes(broken)
        with pytest.raises(BenchError, match=r"r\.json\.xz: damaged"):
            store.read(file)


def test_the_tables_of_our_documents_are_those_of_the_study(study: list[Chapter]) -> None:
    """None was typed by hand, and none was left behind when the study was made anew."""
    with_tables = [text for text in map(text_of, tracked("*.md")) if MARKED.search(text)]
    assert with_tables
    for text in with_tables:
        assert markdown.renewed(text, study) == text


def test_the_readme_compares_servers_by_the_study(study: list[Chapter]) -> None:
    """Requests a second of each server's better setting, and the memory of all."""
    table = markdown.renewed("<!-- crossrun-bench: load 1 -->\n<!-- end -->", study)
    rows = [
        [cell.split()[0] for cell in line.split("|")[1:-1]] for line in table.splitlines()[3:-1]
    ]
    readme = (ROOT / "README.md").read_text()
    for clients in (1, 4, 16):
        best = [
            max(int(row[2]) for row in rows if row[:2] == [name, str(clients)])
            for name in ("crossrun", "triton", "kserve")
        ]
        cells = " | ".join(map(str, best))
        assert re.search(rf"^\| requests/s, {clients} clients? \| {cells} \|", readme, re.M)
    for name in ("crossrun", "triton", "kserve"):
        memory = [int(row[-2].replace(",", "")) for row in rows if row[0] == name]
        assert f"| {min(memory)}\N{EN DASH}{max(memory)} MB |" in readme


def test_our_report_is_that_of_the_study(study: list[Chapter]) -> None:
    """The one that the documents link, and its pictures are there."""
    folder = ROOT / "bench" / "report-pictures"
    text = (ROOT / "bench" / "report.md").read_text()
    assert text == markdown.render(study, folder.name)
    assert len(list(folder.iterdir())) == 6


def test_pictures_of_a_folder_stand_at_the_end(tmp_path: Path, run: Command) -> None:
    """In the page and beside the Markdown, small enough for a page, by their names."""
    store.write(tmp_path / "r.json", latency())
    (tmp_path / "found" / "sub").mkdir(parents=True)
    Image.new("RGB", (1280, 640), "red").save(tmp_path / "found" / "b.png")
    Image.new("L", (32, 16)).save(tmp_path / "found" / "sub" / "a.jpg")
    shown = ["--pictures", tmp_path / "found", "--output", tmp_path / "r.html"]
    ended = run(
        "crossrun-bench", "report", tmp_path / "r.json", *shown, "--markdown", tmp_path / "r.md"
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "r.html").read_text().count("data:image/jpeg;base64,") == 2
    text = (tmp_path / "r.md").read_text()
    assert "![b.png](r-pictures/1-1.jpg)" in text
    assert "![sub/a.jpg](r-pictures/1-2.jpg)" in text
    with Image.open(tmp_path / "r-pictures" / "1-1.jpg") as small:
        assert small.size == (640, 320)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("notes.txt", ["--output", "r.html"], "found: no pictures (.jpeg, .jpg, .png)"),
        ("a.png", ["--output", "r.html"], "a.png: not a readable JPEG or PNG picture"),
        ("a.png", [], "needs --output or --markdown"),
    ],
)
def test_pictures_that_cannot_be_shown_are_named(
    name: str, options: list[str], expected: str, tmp_path: Path, run: Command
) -> None:
    """Nothing is written."""
    store.write(tmp_path / "r.json", latency())
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / name).write_text("no picture")
    places = [tmp_path / o if o.endswith(".html") else o for o in options]
    command = ["report", tmp_path / "r.json", "--pictures", tmp_path / "found", *places]
    ended = run("crossrun-bench", *command)
    assert ended.returncode != 0
    assert expected in ended.stderr
    assert not (tmp_path / "r.html").exists()


def test_a_truncated_file_is_refused_in_one_line(tmp_path: Path, run: Command) -> None:
    """Half a file is damaged, and the command says so on one line."""
    store.write(tmp_path / "r.json", latency())
    text = (tmp_path / "r.json").read_text()
    (tmp_path / "r.json").write_text(text[: len(text) // 2])
    done = run("crossrun-bench", "report", tmp_path / "r.json")
    assert done.returncode == 1
    assert "r.json: damaged" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_wrong_type_deep_inside_is_named(tmp_path: Path) -> None:
    """A damaged value is pointed at."""
    document = store.to_document(latency())
    text = json.dumps(document).replace('"started_ns": 1,', '"started_ns": "soon",', 1)
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(BenchError, match=r"targets\[0\]\.turns\[0\]\.started_ns: expected int"):
        store.read(tmp_path / "r.json")


def test_summaries_leave_warm_ups_out() -> None:
    """Percentiles, throughput and ratios come from the values after the warm-ups."""
    row = next(r for r in latency_rows(latency()) if (r.target, r.batch) == ("onnxruntime", 8))
    assert row.p50 == pytest.approx(8 * 8e6, rel=0.05)
    assert row.throughput == pytest.approx(125, rel=0.05)
    assert row.faster_than["tf-function"].value == pytest.approx(2.5, rel=0.05)
    assert row.requests == 40


def test_accuracy_counts_labels_and_agreement() -> None:
    """Top-1, top-5, agreement and the largest difference are those of the answers."""
    row = accuracy_rows(accuracy())[1]
    assert (row.top1, row.top5, row.agreeing, row.max_difference) == (0.75, 1.0, 3, 0.25)


def test_without_labels_there_is_agreement_only() -> None:
    """Unknown labels are an en dash and a reason, not a zero."""
    text = markdown.render(chapters([accuracy(labels=None)]))
    assert accuracy_rows(accuracy(labels=None))[0].top1 is None
    assert "nobody <knows>" in text
    assert "| 3 of 4 |" in text


def test_pictures_that_are_left_out_are_said_aloud() -> None:
    """How many, and why, stands below the table; where there are none, nothing does."""
    many, one = (dataclasses.replace(accuracy(), left_out=n) for n in (64, 1))
    said = "64 pictures are left out: the model was calibrated on them."
    assert said in markdown.render(chapters([many]))
    assert said in html.render(chapters([many]))
    alone = "1 picture is left out: the model was calibrated on it."
    assert alone in markdown.render(chapters([one]))
    assert "left out" not in markdown.render(chapters([accuracy()]))


def test_a_result_from_before_pictures_were_left_out_is_read(tmp_path: Path) -> None:
    """What an older version did not write has its default."""
    result = accuracy()
    document = store.to_document(result)
    del document["left_out"]
    (tmp_path / "r.json").write_text(json.dumps(document))
    assert store.read(tmp_path / "r.json") == result


def test_the_headline_is_the_measured_ratio() -> None:
    """The first thing a reader sees is how much faster ONNX Runtime is, and against what."""
    first = headlines(chapters([latency()]))[0]
    assert first.sentence == "ONNX Runtime answers 2.5× faster than tf.function"  # noqa: RUF001


def test_noise_is_not_called_a_difference() -> None:
    """Where the interval holds 1, no headline says faster or slower."""
    same = {"tf-function": 10.0, "onnxruntime": 10.0}
    first = headlines(chapters([latency(same, noise=0.3)]))[0]
    assert "no clear difference" in first.sentence


def test_a_slower_runtime_is_called_slower() -> None:
    """The page would not turn a loss into a win."""
    first = headlines(chapters([latency({"tf-function": 10.0, "onnxruntime": 20.0})]))[0]
    assert first.sentence == "ONNX Runtime answers 2.0× slower than tf.function"  # noqa: RUF001


def test_the_page_is_named_after_its_first_result() -> None:
    """Later results that say the same of something else neither replace it nor move it."""
    others: list[Result] = [
        latency({"tf-function": 10.0, "onnxruntime": 5.0}),
        accuracy(),
        latency(),
    ]
    page = html.render(chapters([latency(), *others]))
    assert "<h1>ONNX Runtime answers 2.5× faster than tf.function</h1>" in page  # noqa: RUF001


def test_a_small_difference_is_told_to_the_hundredth() -> None:
    """1.0 times as fast would say nothing."""
    first = headlines(chapters([latency({"tf-function": 10.4, "onnxruntime": 10.0}, 0.001)]))[0]
    assert first.sentence == "ONNX Runtime answers 1.04× faster than tf.function"  # noqa: RUF001


def test_the_page_needs_nothing_but_itself() -> None:
    """No tag of the page names a source, and no style imports one."""
    page = html.render(chapters([latency(), accuracy(labels=None)]))
    parser = Fetched()
    parser.feed(page)
    assert parser.found == []
    assert "nobody &lt;knows&gt;" in page
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_a_browser_draws_every_plot_without_complaint(tmp_path: Path) -> None:
    """Headless Chromium opens the file, draws all panels and logs no error."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium or google-chrome installed")
    page = html.render(chapters([latency(), accuracy(), loads.load(loads.TOLD)]))
    files.write_text(tmp_path / "report.html", page)
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --dump-dom "
    options += "--disable-background-networking --disable-component-update --disable-sync "
    options += "--enable-logging=stderr --virtual-time-budget=5000"
    done = subprocess.run(
        [
            browser,
            *options.split(),
            f"--user-data-dir={tmp_path}/profile",
            f"file://{tmp_path}/report.html",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    panels = 2 + 2 + 2  # distributions and throughput at two batch sizes, start-up, memory
    panels += 4  # closed loops twice, open loops, where a request's time goes
    assert done.stdout.count('class="plot js-plotly-plot"') == panels
    assert "CONSOLE" not in done.stderr
