"""What the processes of a load are told. Imports none of what they measure."""

from dataclasses import dataclass

from crossrun_bench.models.model import Model

FORMS = ("raw", "typed", "shm", "jpeg")  # of requests


@dataclass(frozen=True)
class Request:
    """What is asked, and the right answer; arrays as .npy files."""

    model: Model
    pixels: str  # uint8 [1, H, W, 3]
    expected: str  # float32 [1, classes]
    encoded: str = ""  # the same picture as JPEG, where it is asked about in this form


@dataclass(frozen=True)
class Session:
    """How the file is run: one session, which `callers` threads will call at the same time."""

    model: Model
    pixels: str  # .npy, uint8 [1, H, W, 3]
    threads: int  # of the session
    callers: int
    spin_us: int | None  # how long its threads wait awake for work; null for the default

    def __str__(self) -> str:
        """As reports name it: sessions that work at once, times threads of each."""
        spin = "" if self.spin_us is None else f", spin {self.spin_us} µs"
        return f"in process {self.callers}x{self.threads}{spin}"
