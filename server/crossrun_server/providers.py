"""Which execution providers there are, which were asked for, which really run.

onnxruntime only warns when a provider is missing and runs on the CPU instead;
here a provider that was asked for runs, or the model does not load.
"""

import onnxruntime

from crossrun_server.errors import LoadError

# What people type, and the extra that brings a build with it where there is one.
NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "dml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "acl": "ACLExecutionProvider",
    "qnn": "QNNExecutionProvider",
}
EXTRAS = {
    "CPUExecutionProvider": "cpu",
    "CUDAExecutionProvider": "gpu",
    "TensorrtExecutionProvider": "gpu",
    "OpenVINOExecutionProvider": "openvino",
}


def resolve(name: str) -> str:
    """Turn what a person typed into onnxruntime's name of an available provider.

    Raises:
        LoadError: there is no such provider, or this build of onnxruntime lacks it.
    """
    full = NAMES.get(name.lower(), name)
    available = onnxruntime.get_available_providers()
    if full in available:
        return full
    if full not in {*NAMES.values(), *onnxruntime.get_all_providers()}:
        raise LoadError(f"there is no execution provider {name!r}; known: {', '.join(NAMES)}")
    hint = f"; install crossrun[{EXTRAS[full]}]" if full in EXTRAS else ""
    raise LoadError(
        f"this build of onnxruntime has no {full} (it has {', '.join(available)}){hint}"
    )


def require(session: onnxruntime.InferenceSession, provider: str) -> None:
    """Refuse a session in which onnxruntime dropped the provider that was asked for.

    Raises:
        LoadError: the session runs without `provider`.
    """
    running = session.get_providers()
    if provider not in running:
        raise LoadError(f"{provider} was asked for but cannot run here; it would be {running[0]}")
