"""Pictures of an export: which files of a folder are taken, what they show, what is told of it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from crossrun_export import pictures, price, sources, verify
from crossrun_export.errors import ExportError
from crossrun_export.folder_classes import shown
from crossrun_export.folders import listed
from crossrun_export.options import Limits
from crossrun_export.pipeline import export
from crossrun_export.price import Price
from crossrun_export.sources import Source
from crossrun_export.told import told
from crossrun_export.tolerance import Allowed
from tests.support.keras_models import options, strongest
from tests.support.running import run_here

APPLE_DOUBLE = b"\0\x05\x16\x07\0\x02\0\0Mac OS X        " + bytes(100)
ANY = Limits(max_top1_drop=100, min_agreement=0)  # random weights are not robust


@pytest.fixture
def folder(drawings: Path, tmp_path: Path) -> Path:
    """A few pictures of each label, to be changed; above it is a folder that is hidden."""
    for file in sorted(drawings.rglob("*.png"))[::12]:
        inside = tmp_path / ".cache" / "images" / file.parent.name / file.name
        inside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, inside)
    return tmp_path / ".cache" / "images"


def notebook(_: Path, picture: Path) -> None:
    (picture.parent / ".ipynb_checkpoints").mkdir()
    shutil.copy(picture, picture.parent / ".ipynb_checkpoints" / "a-checkpoint.png")


def notebook_above(folder: Path, picture: Path) -> None:
    (folder / ".ipynb_checkpoints").mkdir()
    shutil.copy(picture, folder / ".ipynb_checkpoints" / "a-checkpoint.png")


def mac(_: Path, picture: Path) -> None:
    (picture.parent / f"._{picture.name}").write_bytes(APPLE_DOUBLE)


def archive(folder: Path, picture: Path) -> None:
    inside = folder / "__MACOSX" / picture.parent.name / picture.name
    inside.parent.mkdir(parents=True)
    inside.write_bytes(APPLE_DOUBLE)


def thumbnails(folder: Path, picture: Path) -> None:
    (folder / ".thumbnails" / "large" / "label 0").mkdir(parents=True)
    shutil.copy(picture, folder / ".thumbnails" / "large" / "label 0" / "b.png")


@pytest.mark.parametrize("hide", [notebook, notebook_above, mac, archive, thumbnails])
def test_hidden_files_are_no_pictures(
    folder: Path, small: Source, hide: Callable[[Path, Path], None]
) -> None:
    """What notebooks, Macs and file managers leave behind is counted, told, and changes nothing."""
    before = pictures.for_measuring(small, folder, 0)
    hide(folder, next(folder.rglob("*.png")))
    after = pictures.for_measuring(small, folder, 0)
    assert after.names == before.names
    assert before.labels is not None
    assert after.labels is not None
    assert after.labels.tolist() == before.labels.tolist()
    assert (before.notes, after.notes) == ((), (f"passed over 1 hidden file in {folder}",))


def test_a_linked_folder_is_what_it_leads_to(folder: Path, small: Source, tmp_path: Path) -> None:
    """Its pictures count like all others, though a link leads around in a circle."""
    before = pictures.for_measuring(small, folder, 0)
    (folder / "label 1").rename(tmp_path / "elsewhere")
    (folder / "label 1").symlink_to(tmp_path / "elsewhere")
    (folder / "label 0" / "around").symlink_to(folder)
    assert pictures.for_measuring(small, folder, 0).names == before.names


def test_no_picture_is_passed_over_in_silence(folder: Path) -> None:
    """One of a format that the server does not take is told, one that is gone is an error."""
    image = next(folder.rglob("*.png"))
    Image.open(image).save(image.with_suffix(".webp"))
    (found,) = listed(folder).notes
    assert found == f"passed over 1 unsupported file in {folder}, as {image.stem}.webp"
    image.with_name("gone.png").symlink_to(folder / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        [pictures.read(file) for file in listed(folder).files]


def test_a_folder_of_nothing_but_hidden_files_holds_no_picture(folder: Path) -> None:
    """The error says how many there were; of no folder at all, that it is none."""
    for file in sorted(folder.rglob("*.png")):
        file.rename(file.with_name(f"._{file.name}"))
    with pytest.raises(ExportError, match=r"holds no picture \(.*\); passed over 12 hidden files"):
        listed(folder)
    with pytest.raises(ExportError, match="nowhere is no folder"):
        listed(folder / "nowhere")


def empty(file: Path) -> None:
    file.write_bytes(b"")


def text(file: Path) -> None:
    file.write_text("<html>404</html>")


def half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def half_a_jpeg(file: Path) -> None:
    with Image.open(file) as image:
        image.convert("RGB").save(file, "JPEG")  # one that Keras decodes late
    half(file)


def broken_text(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:33] + b"\0\0\0\3zTXta\0\1\0\0\0\0" + data[33:])


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (empty, "{file} is empty; expected a JPEG or PNG picture"),
        (text, "{file} is no picture; expected JPEG or PNG"),
        (half, "{file} is a damaged picture: "),
        (half_a_jpeg, "{file} is a damaged picture: "),
        (broken_text, "{file} is "),
    ],
)
def test_what_is_no_whole_picture_is_named(
    folder: Path, small: Source, spoil: Callable[[Path], None], told: str
) -> None:
    """The error names the file, not what it was read into."""
    file = sorted(folder.rglob("*.png"))[3]
    spoil(file)
    with pytest.raises(ExportError) as raised:
        pictures.for_measuring(small, folder, 0)
    assert str(raised.value).startswith(told.format(file=file))
    assert "BytesIO" not in str(raised.value)


# --- What pictures show ----------------------------------------------------------------------


def places(source: Source, *folders: str) -> list[int] | str | None:
    """The classes of a picture in each folder; why they are not known; what the error says."""
    root = Path("root")
    try:
        found = shown(root, [root / folder / "a.jpg" for folder in folders], source)
    except ExportError as error:
        return str(error)
    return found.unknown if found.classes is None else found.classes.tolist()


def test_labels_are_folders_of_labels_or_of_wordnet_ids(small: Source) -> None:
    """Whatever the capitals and the spaces, and however deep: the nearest folder counts."""
    assert places(small, "Label 2", "label_0", "val/label 1") == [2, 0, 1]
    composed = replace(small, labels=("Jalape\u00f1o", "b", "c", "d"))
    assert places(composed, "jalapen\u0303o") == [0]  # as a Mac writes it
    cranes = replace(small, labels=("crane", "crane"), wordnet_ids=("n01", "n02"))
    assert places(cranes, "n02", "n01") == [1, 0]


@pytest.mark.parametrize("folders", [["."], ["holiday"], ["a", "b/c", "."]])
def test_folders_that_mean_nothing_leave_pictures_without_labels(
    small: Source, folders: list[str]
) -> None:
    """A plain folder of photographs is one; so is any folder for a model without labels."""
    assert places(small, *folders) == "no folder of root is a class of the model"
    assert places(replace(small, labels=()), *folders) == "the model has no labels"


@pytest.mark.parametrize("folder", ["cat", "label 4", "label 0/more", "label0"])
def test_one_unknown_folder_among_classes_is_an_error(small: Source, folder: str) -> None:
    """It names the folder, what was expected and the option that passes it over."""
    assert places(small, "label 0", folder) == (
        f"root/{folder} is no class of the model; expected its label, such as 'label 0', or "
        "WordNet id; --skip-unknown-folders passes such folders over"
    )


def test_pictures_beside_the_class_folders_are_an_error(small: Source) -> None:
    """They would have the name of the whole folder, which says nothing."""
    told = places(small, "label 0", ".")
    assert isinstance(told, str)
    assert told.startswith("root itself, without a folder below it, is no class of the model")


def test_a_label_of_two_classes_names_neither(small: Source) -> None:
    """ImageNet has two cranes; two labels may also differ in capitals alone."""
    cranes = replace(small, labels=("crane", "jay", "crane"), wordnet_ids=("n01", "n02", "n03"))
    assert places(cranes, "crane", "jay") == (
        "root/crane may be any of the classes 0, 2, which have the same label; "
        "name it by WordNet id, n01 or n03"
    )
    told = places(replace(small, labels=("Crane", "crane")), "Crane")
    assert isinstance(told, str)
    assert told.endswith("same label; expected labels that differ in more than capitals and spaces")


def test_unknown_folders_are_passed_over_when_asked(folder: Path, small: Source) -> None:
    """They are counted and named; where nothing is left, that is an error."""
    (folder / "holiday").mkdir()
    shutil.copy(next(folder.rglob("*.png")), folder / "holiday" / "a.png")
    with pytest.raises(ExportError, match="holiday is no class of the model"):
        pictures.for_measuring(small, folder, 0)
    found = pictures.for_measuring(small, folder, 0, skip_unknown=True)
    told = f"passed over 1 picture that no class is named for: {folder / 'holiday'}"
    assert (found.notes, len(found.names)) == ((told,), 12)
    with pytest.raises(ExportError, match=r"no folder of .*holiday is a class of the model"):
        pictures.for_measuring(small, folder / "holiday", 0, skip_unknown=True)


def test_what_calibrates_needs_no_labels(drawings: Path, small: Source, tmp_path: Path) -> None:
    """Folders of pictures to calibrate on alone may have any names."""
    shutil.copytree(drawings / "label 0", tmp_path / "any" / "holiday")
    shutil.copytree(drawings / "label 1", tmp_path / "any" / "label 1")
    calibration, measured = pictures.for_both(small, tmp_path / "any", drawings / "label 2")
    assert (calibration.labels, measured.labels) == (None, None)
    with pytest.raises(ExportError, match="holiday is no class"):
        pictures.for_both(small, tmp_path / "any", None)


# --- A limit that nothing is held against ----------------------------------------------------


@pytest.fixture
def colours(tmp_path: Path) -> tuple[Source, Path]:
    """A model that names the strongest colour, and a picture of each, in folders of their names."""
    strongest().save(tmp_path / "strongest.keras")
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    for place, name in enumerate(("red", "green", "blue")):
        (tmp_path / "colours" / name).mkdir(parents=True)
        colour = tuple(200 * (channel == place) for channel in range(3))
        Image.new("RGB", (8, 8), colour).save(tmp_path / "colours" / name / "a.png")
    labels = tmp_path / "labels.txt"
    return sources.keras_file(tmp_path / "strongest.keras", "0..1", labels), tmp_path / "colours"


def without_the_first(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model that answers as before, but for the first class, which it has forgotten."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    (output,) = changed.graph.output
    last = next(node for node in changed.graph.node if output.name in node.output)
    last.output[list(last.output).index(output.name)] = "whole"
    mask = onnx.numpy_helper.from_array(np.array([0, 1, 1], np.float32), "mask")
    changed.graph.initializer.append(mask)
    changed.graph.node.append(onnx.helper.make_node("Mul", ["whole", "mask"], [output.name]))
    return changed


def test_a_hidden_folder_takes_no_limit_away(
    colours: tuple[Source, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss that refuses an export refuses it with a notebook's copy of a picture as well."""
    source, root = colours
    monkeypatch.setattr("crossrun_export.half.to_fp16", without_the_first)
    wanted = {"precisions": ("fp16",), "limits": Limits(30, 0.0, needs_labels=True)}
    for hide in (lambda *_: None, notebook):
        hide(root, root / "red" / "a.png")
        with pytest.raises(ExportError, match=r"fp16 loses 33.33 points of top-1, allowed are 30"):
            export(source, options(tmp_path / "models", images=root, **wanted))
    assert not list((tmp_path / "models").iterdir())


def unlabelled(root: Path) -> str:
    """Take the pictures out of their folders; gives why they have no labels then."""
    for number, file in enumerate(sorted(root.rglob("*.png"))):
        file.rename(root / f"{number}.png")
    return f"no folder of {root} is a class of the model"


def test_a_limit_without_labels_is_refused(colours: tuple[Source, Path], tmp_path: Path) -> None:
    """Asked for, a drop of top-1 has to be measured: nothing is written, the error says how."""
    source, root = colours
    wanted = {"precisions": ("fp32", "fp16"), "limits": replace(ANY, needs_labels=True)}
    for images, why in ((root, unlabelled(root)), (None, "drawn pictures show none of the model")):
        told = rf"^--max-top1-drop 100 cannot be held: {why}.*expected --images with a folder for"
        with pytest.raises(ExportError, match=told):
            export(source, options(tmp_path / "models", images=images, **wanted))
    assert not (tmp_path / "models").exists()


def test_a_drop_that_was_not_measured_is_told(
    colours: tuple[Source, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not asked for, the export goes on; what is said, the last line and the file tell of it."""
    source, root = colours
    said, why = list[str](), unlabelled(root)
    monkeypatch.setattr("crossrun_export.half.to_fp16", without_the_first)
    wanted = options(tmp_path / "models", images=root, precisions=("fp16",), limits=ANY)
    (one,) = export(source, wanted, say=said.append)
    assert said == [f"no labels: top-1 is not measured: {why}"]
    assert f"top-1 is not measured ({why}), agrees with Keras on" in told(one)
    props = onnx.load(one.version / "model.onnx").metadata_props
    cost = next(json.loads(prop.value) for prop in props if prop.key == "crossrun.price")
    assert (cost["top1"], cost["top1_change"], cost["unlabelled"]) == (None, None, why)


@pytest.mark.parametrize("option", ["--max-top1-drop", "--min-reduced-agreement"])
def test_a_limit_that_limits_nothing_is_refused(option: str, tmp_path: Path) -> None:
    """Where no precision is reduced, before anything is loaded."""
    words = ["crossrun-export", "mobilenet", "--output", str(tmp_path / "models"), option, "1"]
    ended = run_here(words)
    assert ended.returncode == 1
    assert f"{option} is for int8 and fp16, and --precision asks for neither" in ended.stderr
    assert not (tmp_path / "models").exists()


def test_what_is_no_number_breaks_every_limit() -> None:
    """A NaN compares as less and as more than nothing: no comparison lets it pass."""
    nan, some = float("nan"), Allowed(max_diff=1.0, min_agreement=1.0)
    whole: dict[str, Any] = {
        "images": 1,
        "max_abs_diff": 0.0,
        "top1_agreement": 1.0,
        "top5_agreement": 1.0,
        "alike": False,
    }
    whole |= {"views": 1, "worst": "a", "top1": 1.0, "top1_change": 0.0}
    for broken in ("top1_change", "top1_agreement", "max_abs_diff"):
        cost = Price(**(whole | {"top5": 1.0, "top5_change": 0.0, broken: nan}))
        with pytest.raises(ExportError):
            price.check(cost, Limits(), "int8")
    scores = np.array([[0.5, 0.5]], np.float32)
    with pytest.raises(ExportError, match="agrees on"):
        verify.verify(scores, scores, ["a"], replace(some, min_agreement=nan))
