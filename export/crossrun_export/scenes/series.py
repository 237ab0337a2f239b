"""Draws many pictures of a series at once, on all cores."""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from typing import TypeVar

from rich.progress import track

Drawn = TypeVar("Drawn")


def series(draw: Callable[[int, int, int], Drawn], seed: int, count: int, size: int) -> list[Drawn]:
    """The first `count` pictures of a series, drawn by one of the `draw` functions."""
    # Spawned, not forked: TensorFlow's threads do not survive a fork.
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        drawing = pool.map(draw, repeat(seed), range(count), repeat(size), chunksize=100)
        return list(track(drawing, description=f"drawing series {seed}", total=count))
