"""Options of execution providers where nobody gives others and onnxruntime's own would surprise."""

import logging
from collections.abc import Mapping
from pathlib import Path

from crossrun_server import caches
from crossrun_server.providers import CUDA, TENSORRT, Provider

log = logging.getLogger(__name__)

DEFAULTS: Mapping[str, Mapping[str, str]] = {
    # onnxruntime's own is an exhaustive search, which times all algorithms anew for each shape.
    CUDA: {"cudnn_conv_algo_search": "HEURISTIC"},
    # Building an engine takes long; where they are kept is added below.
    TENSORRT: {"trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1"},
}
ENGINES, TIMINGS = "trt_engine_cache_path", "trt_timing_cache_path"


def completed(provider: Provider, model: Path | bytes) -> Provider:
    """Give a provider our options where the own are left out.

    Args:
        provider: with the options that were given.
        model: the file that a session is to be made of, or its bytes.
    """
    ours = DEFAULTS.get(provider.name, {})
    if provider.name == TENSORRT:
        ours = _kept(ours, provider, model)
    return Provider(provider.name, {**ours, **provider.options})


def _kept(ours: Mapping[str, str], provider: Provider, model: Path | bytes) -> Mapping[str, str]:
    """Add where TensorRT's caches lie; without them where that folder cannot be written.

    An engine holds the weights of its model, and onnxruntime names it by the shape of the graph:
    so each model, with its options, has a folder of its own.
    """
    home, options = caches.folder("tensorrt"), sorted(provider.options.items())
    try:
        beside = caches.beside(model) if isinstance(model, Path) else []
        key = caches.key(model, options, *beside)
        places = {ENGINES: home / "engines" / key, TIMINGS: home / "timings"}
        for place in places.values():
            place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("TensorRT's engines cannot be kept for the next start: %s", error)
        return {}
    return {**ours, **{option: str(place) for option, place in places.items()}}
