"""The export: what is written is equal to the original, and what is not equal is not written."""

import importlib
import io
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from crossrun.v1 import vision_pb2
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_export import convert, inference, pictures, publish, sources, verify
from crossrun_export.backend import keras
from crossrun_export.errors import ExportError
from crossrun_export.options import Tolerance
from crossrun_export.pipeline import export
from crossrun_export.told import told
from crossrun_export.tolerance import Allowed
from crossrun_server.model_config import config
from crossrun_server.models import loader
from crossrun_server.models.loader import ModelSource
from tests.support.keras_models import options, pixels, strongest, with_labels
from tests.support.metadata import metadata
from tests.support.running import BIN, ON_CPU, Command, run_here, serving

SMALL = ("--alpha", "0.25", "--size", "64")
FILES = ["1", "config.pbtxt", "labels.txt"]


@pytest.fixture(scope="module")
def exported(exported_small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that holds the small model in fp32; to be looked at, not changed."""
    output = tmp_path_factory.mktemp("exported")
    shutil.copytree(exported_small / "mobilenet", output / "mobilenet")
    return output


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    shutil.copytree(exported, tmp_path / "models")
    return tmp_path / "models"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_repository_has_tritons_layout(exported: Path) -> None:
    """NAME/config.pbtxt, NAME/labels.txt, NAME/1/model.onnx, and nothing beside them."""
    assert names(exported) == ["mobilenet"]
    assert names(exported / "mobilenet") == FILES
    assert names(exported / "mobilenet" / "1") == ["model.keras", "model.onnx", "proof.npz"]
    labels = (exported / "mobilenet" / "labels.txt").read_text()
    assert labels == "label 0\nlabel 1\nlabel 2\nlabel 3\n"


def test_the_server_agrees_with_the_config_that_was_written(exported: Path) -> None:
    """config.pbtxt says of inputs and outputs what the ONNX file says."""
    proto = config.read(exported / "mobilenet")
    assert proto is not None
    assert (proto.max_batch_size, proto.HasField("dynamic_batching")) == (32, True)
    (model,) = loader.load(ModelSource(exported / "mobilenet"), ON_CPU).models.values()
    assert model.inputs["image"].shape == (-1, 64, 64, 3)
    assert model.inputs["image"].datatype == "UINT8"
    assert model.outputs["probabilities"].shape == (-1, 4)
    model.close()


def test_the_file_says_where_it_comes_from(exported: Path, small: sources.Source) -> None:
    """Source, versions, preprocessing, labels and parity travel in the ONNX metadata."""
    found = metadata(exported / "mobilenet" / "1" / "model.onnx")
    assert found["source"] == {
        "model": small.model.name,
        "weights": "random",
        "sha256": small.sha256,
    }
    assert found["versions"]["keras"] == keras.__version__
    assert found["versions"]["opset"] == 17
    assert found["preprocessing"]["scale"] == pytest.approx(1 / 127.5)
    assert found["preprocessing"]["offset"] == -1
    assert len(found["labels_sha256"]) == 64
    assert found["parity"]["images"] > 30
    assert found["parity"]["max_abs_diff"] <= 1e-4
    assert found["parity"]["top1_agreement"] == 1
    assert found["parity"]["top5_agreement"] is None  # of four classes the best five are all


def test_the_source_model_lies_beside_it(exported: Path, small: sources.Source) -> None:
    """model.keras gives the very answers of the model that was exported."""
    saved = keras.saving.load_model(exported / "mobilenet" / "1" / "model.keras")
    pixels = np.random.default_rng(1).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    assert np.array_equal(saved.predict(pixels, verbose=0), small.model.predict(pixels, verbose=0))


def test_the_graph_that_runs_is_clean(exported: Path, tmp_path: Path) -> None:
    """Batch norm folded, pads and activations fused, one transpose, at the entrance."""
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    settings.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(
        exported / "mobilenet" / "1" / "model.onnx", settings, providers=["CPUExecutionProvider"]
    )
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert kinds[:5] == ["Cast", "Mul", "Add", "Transpose", "FusedConv"] or kinds[:5] == [
        "Cast", "Mul", "Sub", "Transpose", "FusedConv",
    ]  # fmt: skip
    assert kinds.count("Transpose") == 1
    assert kinds.count("FusedConv") == 27
    assert set(kinds[5:]) == {"FusedConv", "Conv", "GlobalAveragePool", "Reshape", "Softmax"}


def test_shapes_are_constant_before_tf2onnx_looks_at_them(
    small: sources.Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where tf2onnx folds no shape, as happens now and then, none is computed."""
    optimizers = importlib.import_module("tf2onnx.optimizer")
    monkeypatch.delitem(optimizers._optimizers, "reshape_optimizer")
    kinds = {node.op_type for node in convert.to_onnx(small, "uint8").graph.node}
    assert "Reshape" in kinds
    assert not {"Shape", "Gather", "Slice", "Concat"} & kinds


def test_a_step_of_tf2onnx_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is converted all the same, from the graph as it was before the step changed it."""
    optimizers = importlib.import_module("tf2onnx.optimizer")

    class Failing(optimizers.TransposeOptimizer):  # type: ignore[name-defined, misc]
        def _optimize(self, graph: Any) -> None:
            super()._optimize(graph)
            graph.get_nodes().clear()
            raise ValueError

    monkeypatch.setitem(optimizers._optimizers, "optimize_transpose", Failing)
    source = sources.Source(strongest(), (), "random", "0" * 64, pixels("0..1"))
    pictures = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    got = inference.onnx_scores(source, convert.to_onnx(source, "uint8"), pictures)
    np.testing.assert_allclose(got, inference.original_scores(source, pictures), rtol=0, atol=1e-6)


def test_equality_on_answers_that_are_all_the_same_is_told_for_what_it_is(tmp_path: Path) -> None:
    """A network that answers every picture alike is equal to anything that does so, too."""
    image = keras.Input((8, 8, 3))
    means = keras.layers.GlobalAveragePooling2D()(image)
    same = keras.layers.Dense(3, "softmax", kernel_initializer="zeros")(means)
    for name, answer in (("same", same), ("other", keras.layers.Softmax()(means))):
        model = keras.Model(image, answer)
        source = sources.Source(model, (), "random", "0" * 64, pixels("0..1"))
        (one,) = export(source, options(tmp_path, name=name))
        assert ("says little: it answers all of them the same" in told(one)) is (name == "same")


def test_what_convnext_is_made_of_is_converted() -> None:
    """Grouped convolutions and a GELU answer in ONNX what they answer in Keras."""
    image = keras.Input((16, 16, 3))
    features = keras.layers.Conv2D(6, 3, groups=3, activation="gelu")(image)
    means = keras.layers.GlobalAveragePooling2D()(features)
    model = keras.Model(image, keras.layers.Dense(4, activation="softmax")(means))
    source = sources.Source(model, (), "random", "0" * 64, pixels("-1..1"))
    pictures = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    got = inference.onnx_scores(source, convert.to_onnx(source, "uint8"), pictures)
    np.testing.assert_allclose(got, inference.original_scores(source, pictures), rtol=0, atol=1e-6)


def test_versions_count_up_and_leave_a_tuned_config_alone(
    copy: Path, small: sources.Source
) -> None:
    """The next export is version 2; what was there, and a config since edited, stays."""
    edited = copy / "mobilenet" / "config.pbtxt"
    edited.write_text(edited.read_text().replace("max_batch_size: 32", "max_batch_size: 4"))
    before = (copy / "mobilenet" / "1" / "model.onnx").read_bytes()
    (again,) = export(small, options(copy))
    assert again.version == copy / "mobilenet" / "2"
    assert names(copy / "mobilenet") == ["1", "2", "config.pbtxt", "labels.txt"]
    assert "max_batch_size: 4" in edited.read_text()
    assert (copy / "mobilenet" / "1" / "model.onnx").read_bytes() == before


def test_another_model_of_the_same_name_is_refused(copy: Path, small: sources.Source) -> None:
    """Versions of a model share their labels and their inputs; others need another name."""
    with pytest.raises(ExportError, match="other labels; choose another --name"):
        export(with_labels(small, 3), options(copy))
    with pytest.raises(ExportError, match="other inputs or outputs; choose another --name"):
        export(small, options(copy, input_dtype="float32"))
    assert names(copy) == ["mobilenet"]
    assert names(copy / "mobilenet") == FILES


def test_floats_of_another_range_need_another_name(tmp_path: Path) -> None:
    """Clients scale them as the versions before took them; bytes are scaled by each version."""
    one, other = (
        sources.Source(strongest(), (), "random", "0" * 64, pixels(name))
        for name in ("0..1", "-1..1")
    )
    export(one, options(tmp_path, input_dtype="float32"))
    with pytest.raises(ExportError, match="takes pixels that are scaled in another way"):
        export(other, options(tmp_path, input_dtype="float32"))
    export(one, options(tmp_path, name="bytes"))
    assert export(other, options(tmp_path, name="bytes"))[0].version.name == "2"


def test_out_of_tolerance_writes_nothing(small: sources.Source, tmp_path: Path) -> None:
    """A difference over the limit names the worst picture, and leaves no trace."""
    with pytest.raises(ExportError, match=r"differs by up to .*; the worst is drawn picture \d+"):
        export(small, options(tmp_path / "models", tolerance=Tolerance(max_diff=0)))
    assert names(tmp_path / "models") == []


def test_a_wrong_answer_is_found_however_small_the_difference() -> None:
    """Agreement is judged apart from the difference: NaN and swapped classes both fail."""
    right = np.array([[0.5, 0.5], [0.1, 0.9]], np.float32)
    swapped = np.array([[0.5, 0.5], [0.51, 0.49]], np.float32)
    with pytest.raises(ExportError, match=r"agrees on 50.00% of 2 pictures, required are 100.00%"):
        verify.verify(right, swapped, ["a", "b"], Allowed(1.0, 1.0))
    with pytest.raises(ExportError, match=r"differs by up to nan, .*; the worst is b"):
        verify.verify(
            right,
            right * np.array([[1], [np.nan]], np.float32),
            ["a", "b"],
            Allowed(1.0, 1.0),
        )


def test_agreement_counts_pictures_and_forgives_ties() -> None:
    """Half the pictures with another best class are 50 %; an exact tie may fall either way."""
    expected = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.4, 0.4, 0.2]], np.float32)
    got = np.array([[0.3, 0.6, 0.1], [0.2, 0.5, 0.3], [0.3, 0.5, 0.2]], np.float32)
    parity, worst = verify.compare(expected, got)
    assert parity.top1_agreement == pytest.approx(2 / 3)
    assert parity.max_abs_diff == pytest.approx(0.3)
    assert worst == 0


def test_the_float_variant_answers_the_same(
    copy: Path, small: sources.Source, tmp_path: Path
) -> None:
    """The FP32 input takes what Keras takes; through Classify both give the same scores."""
    export(small, options(copy, name="floats", input_dtype="float32"))
    picture = _png(pictures.drawn(small, 1, 1).stretched[0])
    with (
        serving(copy, tmp_path / "log") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        replies = [
            VisionStub(channel).Classify(vision_pb2.ClassifyRequest(model=name, images=[picture]))
            for name in ("mobilenet", "floats")
        ]
    first, second = ([(c.index, c.score) for c in r.results[0].classes] for r in replies)
    assert [i for i, _ in first] == [i for i, _ in second]
    assert [s for _, s in first] == pytest.approx([s for _, s in second], abs=1e-6)


def _png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_second_choice_of_weights_is_taken_aloud(tmp_path: Path, run: Command) -> None:
    """With `imagenet,bundled` the bundled model follows on the reason why it is not ImageNet's."""
    nowhere = {"KERAS_HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:1"}
    arguments = ("mobilenet", "--weights", "imagenet,bundled", "--output", tmp_path / "models")
    ended = run("crossrun-export", *arguments, env=nowhere)
    assert ended.returncode == 0, ended.stderr
    first, second, pixels, *_, last = ended.stderr.splitlines()
    assert first.startswith("not imagenet: no ImageNet weights: ")
    assert second == "exporting mobilenet_0.25_96, bundled weights"
    assert pixels == "pixels -1..1: MobileNet's own"
    assert last.startswith(f"{tmp_path}/models/mobilenet/1: equal to Keras on 33 pictures")
    found = metadata(tmp_path / "models" / "mobilenet" / "1" / "model.onnx")
    assert found["source"]["weights"] == "bundled"


def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path, small: sources.Source) -> None:
    """A file where the repository should be, or a name that is no folder's or no config's."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"cannot write to .*file"):
        export(small, options(tmp_path / "file" / "models"))
    for name in ("../up", 'a"b', "a\\b", "a\n", ""):
        with pytest.raises(ExportError, match=f"{re.escape(repr(name))} is no name for a model"):
            export(small, options(tmp_path / "models", name=name))


def test_an_end_by_a_signal_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service manager's SIGTERM in the midst of writing: no scrap of a version remains."""

    def write_and_end() -> None:
        with publish.staging(tmp_path, "model") as folder:
            (folder / "half").write_text("")
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("crossrun_export.cli.app", write_and_end)
    assert run_here(["crossrun-export"]).returncode == 128 + signal.SIGTERM
    assert names(tmp_path) == []


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path: Path) -> None:
    """Where the files cannot be written whole, no version and no scrap of one remains."""
    command = [
        str(BIN / "crossrun-export"), "mobilenet", *SMALL, "--weights", "random",
        "--output", str(tmp_path),
    ]  # fmt: skip
    ended = subprocess.run(  # at most 100 kB a file
        ["bash", "-c", 'ulimit -f 100; exec "$@"', "-", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert f"crossrun-export: cannot write to {tmp_path}: " in ended.stderr.splitlines()[-1]
    assert names(tmp_path) == []
