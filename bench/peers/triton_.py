"""NVIDIA Triton with its Python backend: the server inside nvidia-pytriton, without pytriton.

No wheel holds Triton's onnxruntime backend. So `sessions` instances of a model in Python call
onnxruntime, each in a process of its own.
"""

import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import common

_CONFIG = """
name: "{name}"
backend: "python"
input [ {{ name: "{input}", data_type: TYPE_UINT8, dims: [ -1, {height}, {width}, 3 ] }} ]
output [ {{ name: "{output}", data_type: TYPE_FP32, dims: [ -1, {classes} ] }} ]
instance_group [ {{ kind: KIND_CPU, count: {sessions} }} ]
parameters {{ key: "onnx" value: {{ string_value: "{onnx}" }} }}
parameters {{ key: "threads" value: {{ string_value: "{threads}" }} }}
"""
# The backend starts a bare Python that does not find this environment's packages.
_LOADER = """
import sys
sys.path[:0] = {paths}
from triton_model import TritonPythonModel
"""


def main() -> None:
    """Serve until told to stop."""
    model = common.asked(__doc__)
    port = common.free_port()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _repository(root / "models", model)
        command = [str(_home() / "bin" / "tritonserver"), *_options(root, port)]
        with subprocess.Popen(command, env=_environment(), stdout=sys.stderr) as server:
            signal.signal(signal.SIGTERM, lambda *_: server.terminate())
            common.announce_when_ready(model.name, port)
            server.wait()


def _repository(root: Path, model: common.Asked) -> None:
    """Write a model repository with one model in Python."""
    described = common.session(model.onnx, 1)
    image, answer = described.get_inputs()[0], described.get_outputs()[0]
    folder = root / model.name / "1"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(
        _LOADER.format(paths=[_packages(), str(Path(__file__).parent)])
    )
    values = vars(model) | {"onnx": str(Path(model.onnx).resolve())}
    height, width = image.shape[1:3]
    shapes = {"height": height, "width": width, "classes": answer.shape[-1]}
    config = _CONFIG.format(input=image.name, output=answer.name, **shapes, **values)
    (folder.parent / "config.pbtxt").write_text(config)


def _options(root: Path, port: int) -> list[str]:
    """Put the backend and its stub for this Python together: the wheel keeps the stubs apart."""
    backends, python = root / "backends", f"{sys.version_info[0]}.{sys.version_info[1]}"
    (backends / "python").mkdir(parents=True)
    parts = [*(_home() / "backends" / "python").iterdir()]
    parts += [_home() / "python_backend_stubs" / python / "triton_python_backend_stub"]
    for part in parts:
        (backends / "python" / part.name).symlink_to(part)
    return [
        f"--model-repository={root / 'models'}",
        f"--backend-directory={backends}",
        "--allow-http=false",
        "--allow-metrics=false",
        f"--grpc-address={common.HOST}",
        f"--grpc-port={port}",
    ]


def _home() -> Path:
    return Path(_packages()) / "pytriton" / "tritonserver"


def _packages() -> str:
    return sysconfig.get_paths()["purelib"]


def _environment() -> dict[str, str]:
    """Let the backend's stub find libpython beside the Python that runs this."""
    paths = filter(None, [sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH")])
    return os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(paths)}


if __name__ == "__main__":
    main()
