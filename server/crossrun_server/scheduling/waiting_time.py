"""How long who comes now will wait, by what was measured of late, and whether that is too long.

All times are in seconds.
"""

from crossrun_server.errors import DeadlineExceeded, WaitTooLong

# Of the latest run in the mean: what was measured twenty runs ago has next to no weight.
WEIGHT = 1 / 8
# Of the time until a deadline that waiting may take. The rest is for what no mean knows: runs that
# take longer than others, and the way back to the client.
SHARE = 0.5


class Pace:
    """How fast runs have been of late; 0 before the first."""

    def __init__(self) -> None:
        self.row = 0.0  # from one row to the next if all places are busy: a mean
        self.run = 0.0  # of one run: a mean that follows faster runs at once, so that it is low

    def note(self, seconds: float, rows: int, share: float) -> None:
        """Take a run into account.

        Args:
            seconds: that it took.
            rows: that it had.
            share: of all that can run at once, 0 to 1.
        """
        row = seconds * share / rows
        self.row += (row - self.row) * WEIGHT if self.row else row
        slower = self.run + (seconds - self.run) * WEIGHT
        self.run = min(seconds, slower) if self.run else seconds


def fits(wait: float, run: float, left: float | None, longest: float) -> bool:
    """Whether somebody may be kept waiting; see `check`."""
    if wait > longest:
        return False
    return left is None or (run <= left and wait <= (left - run) * SHARE)


def check(wait: float, run: float, left: float | None, longest: float) -> None:
    """Find out whether somebody is better refused now than kept waiting.

    Args:
        wait: that is expected until the turn.
        run: that is expected after that.
        left: until the deadline; None if there is none.
        longest: that anybody may wait.

    Raises:
        WaitTooLong: it would wait too long. Whoever comes later, or asks another server, may not.
        DeadlineExceeded: no run is so short; to come later does not help.
    """
    if left is not None and run > left:
        raise DeadlineExceeded(
            f"the deadline is in {_told(left)}, and the model runs for {_told(run)}"
        )
    if left is not None and wait > (left - run) * SHARE:
        raise WaitTooLong(
            f"the request would wait for about {_told(wait)}, and its deadline is in {_told(left)}",
            wait,
        )
    if wait > longest:
        raise WaitTooLong(
            f"the request would wait for about {_told(wait)}, expected {_told(longest)} at most "
            "(--max-queue-wait-ms)",
            wait,
        )


def _told(seconds: float) -> str:
    return f"{1e3 * seconds:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"
