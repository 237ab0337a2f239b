"""The options by which TensorRT keeps its engines, which take long to build, for the next start."""

import logging
from collections.abc import Mapping
from pathlib import Path

from crossrun_server import disk_cache

log = logging.getLogger(__name__)

SWITCHES = {"trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1"}
ENGINES, TIMINGS = "trt_engine_cache_path", "trt_timing_cache_path"


def options(given: Mapping[str, str], model: Path | bytes) -> Mapping[str, str]:
    """Return these options; none if the folder of the engines cannot be written.

    An engine holds the weights of its model, but onnxruntime names it by the shape of the graph. So
    each model, with its options, has a folder of its own.

    Args:
        given: the provider's other options.
        model: the file of the session that is to be made, or its bytes.
    """
    home = disk_cache.folder("tensorrt")
    try:
        beside = disk_cache.beside(model) if isinstance(model, Path) else []
        key = disk_cache.key(model, sorted(given.items()), *beside)
        places = {ENGINES: home / "engines" / key, TIMINGS: home / "timings"}
        for place in places.values():
            place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("TensorRT's engines cannot be kept for the next start: %s", error)
        return {}
    return {**SWITCHES, **{option: str(place) for option, place in places.items()}}
