"""Sessions that answer otherwise than their model, instead of those that a load makes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from crossrun_server.runtime.session import Session

Change = Callable[[Session, dict[str, np.ndarray]], Any]


def stand_in(
    monkeypatch: pytest.MonkeyPatch, change: Change, provider: str = "", asked: str = ""
) -> None:
    """Let sessions answer otherwise; each says that `provider` computes it, if one is named."""

    class Other(Session):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.threads = given[2].intra_op
            if provider:
                nodes = {provider: sum(self.assignment.nodes.values())}
                self.assignment = type(self.assignment)(provider, nodes, {}, {provider: asked})

        def run(self, inputs: Any, outputs: Sequence[str]) -> dict[str, np.ndarray]:
            answer = super().run(inputs, outputs)
            change(self, answer)
            return answer

    monkeypatch.setattr("crossrun_server.models.lanes.Session", Other)


def add(
    amount: float, unless: Callable[[Any, Any], bool] = lambda _session, _rows: False
) -> Change:
    def change(session: Session, answer: dict[str, np.ndarray]) -> None:
        for name, array in answer.items():
            if not unless(session, array):
                answer[name] = array + np.float32(amount)

    return change
