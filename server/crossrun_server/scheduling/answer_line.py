"""Requests by arrival, to be answered in that order. The scheduler guards it with its lock."""

from crossrun_server.scheduling.batching import InferenceRequest, Result


class AnswerLine:
    """The requests that are not answered yet, with the results of those that have run."""

    def __init__(self) -> None:
        self._results: dict[InferenceRequest, Result | None] = {}

    def enter(self, request: InferenceRequest) -> None:
        """Let a request stand behind the others."""
        self._results[request] = None

    def leave(self, request: InferenceRequest) -> None:
        """Let a request go, if it is there, and answer those that it held up."""
        self._results.pop(request, None)
        self._hand_out()

    def settle(self, request: InferenceRequest, result: Result) -> None:
        """Note a result, and answer all whose predecessors have theirs."""
        if request in self._results:  # or else its caller has left
            self._results[request] = result
        self._hand_out()

    def _hand_out(self) -> None:
        while self._results:
            request, result = next(iter(self._results.items()))
            if result is None:
                return
            del self._results[request]
            request.answer(result)
