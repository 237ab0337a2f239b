"""The layout of a detector's outputs, with everything settled."""

from dataclasses import dataclass

from crossrun_export.foreign.said import (
    NUMBERED,
    OVERLAPPING,
    Background,
    BoxOrder,
    BoxUnit,
    DetectionHead,
    LayoutName,
)

# Lines of labels.txt that are none.
NO_OBJECT = -1


@dataclass(frozen=True)
class Layout:
    """How the outputs of a detector are read."""

    layout: LayoutName
    outputs: dict[str, str]  # part → output
    batched: bool  # whether outputs have a dimension for the batch; if not, it is 1
    columns_first: bool  # whether rows are columns: [4 + classes, n]
    box_order: BoxOrder
    box_unit: BoxUnit
    size: tuple[int, int]  # height and width of the input, pixels; needed if boxes are in pixels
    # The source's number of each line of labels.txt; if there is a score for each class, its place.
    numbers: tuple[int, ...]
    background: Background
    head: DetectionHead | None  # what the scores of each class are; None if classes are numbers

    @property
    def is_numbered(self) -> bool:
        """Whether a detection has the number of its class, and no score for each."""
        return self.layout in NUMBERED

    @property
    def overlaps(self) -> bool:
        """Whether several boxes may show one object, so that they have to be suppressed."""
        return self.layout in OVERLAPPING

    @property
    def lines(self) -> dict[int, int]:
        """The line of labels.txt for each class number from the lowest to the highest.

        Numbers in a gap, and that of the background, are NO_OBJECT. For any other number there is
        no label: a detection then gets the line after the last, which the server refuses.
        """
        low, high = min(self.numbers), max(self.numbers)
        first, last = self.background == "first", self.background == "last"
        gaps = dict.fromkeys(range(low - first, high + last + 1), NO_OBJECT)
        return gaps | {number: line for line, number in enumerate(self.numbers)}
