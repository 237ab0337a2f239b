"""Which class a folder of pictures shows: its name is a label of the model or a WordNet id."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossrun_export.sources import Source


def classes(folders: Sequence[str], source: Source) -> NDArray[np.int64] | None:
    """Positions in the model's output, int64; None where any folder's name says nothing."""
    known = _positions(source.labels) | _positions(source.wordnet_ids)
    found = [known.get(_plain(folder)) for folder in folders]
    return None if None in found else np.array(found, np.int64)


def _positions(names: Sequence[str]) -> dict[str, int]:
    """A name that two classes share (ImageNet has two cranes) names neither."""
    plain = [_plain(name) for name in names]
    return {name: place for place, name in enumerate(plain) if plain.count(name) == 1}


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_")
