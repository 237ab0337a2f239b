"""Shows how training goes on: epochs, steps, loss and the time that is left."""

from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from crossrun_export.backend import keras


class Progress(keras.callbacks.Callback):  # type: ignore[misc]
    """One bar over all steps; where there is no terminal, a line for each epoch."""

    def __init__(self, epochs: int, steps: int) -> None:
        super().__init__()
        self._console = Console(stderr=True)
        self._bars = Bars(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._epochs, self._steps, self._epoch = epochs, steps, 0
        self._task = self._bars.add_task("", total=epochs * steps, told="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def on_epoch_begin(self, epoch: int, _: dict[str, Any] | None = None) -> None:
        """Count on from where training is."""
        self._epoch = epoch
        self._bars.update(self._task, completed=epoch * self._steps)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """Move on."""
        told = f"epoch {self._epoch + 1}/{self._epochs} loss {logs['loss']:.3f}"
        self._bars.update(self._task, completed=self._epoch * self._steps + batch + 1, told=told)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Leave a line."""
        self._console.print(
            f"epoch {epoch + 1}/{self._epochs}: loss {logs['loss']:.3f}", highlight=False
        )
