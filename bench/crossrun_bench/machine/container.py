"""Which kind of container this process runs in, if any. Knows only Linux's marks."""

import os
from pathlib import Path

_ROOT = Path("/")
_VARIABLE = "container"  # several engines set it
_NAMED = ("run/host/container-manager", "run/systemd/container")  # these files hold the name
_MARKS = {"run/.containerenv": "podman", ".dockerenv": "docker"}
_GROUPS = {"kubepods": "kubernetes", "docker": "docker", "libpod": "podman", "lxc": "lxc"}


def container(root: Path = _ROOT) -> str:
    """The kind of container: docker, podman, kubernetes, …, or "none".

    First come Kubernetes's own marks, then the rules of systemd-detect-virt (systemd,
    src/basic/virt.c), then the names of control groups. No answer is certain: a container may hide
    all of them.
    """
    if "KUBERNETES_SERVICE_HOST" in os.environ or (root / "run/secrets/kubernetes.io").exists():
        return "kubernetes"
    named = [*(_text(root / file) for file in _NAMED), os.environ.get(_VARIABLE, "")]
    marked = [name for file, name in _MARKS.items() if (root / file).exists()]
    groups = _text(root / "proc/self/cgroup")
    grouped = [name for word, name in _GROUPS.items() if f"/{word}" in groups]
    return next(filter(None, [*named, *marked, *grouped]), "none")


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except OSError:
        return ""
