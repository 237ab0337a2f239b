"""What clients may ask of a port, through either front end."""

from dataclasses import dataclass

from crossrun_server.errors import ServingError

NEVER = 2**31 - 1  # milliseconds, as gRPC says it
SECOND = 1000
MINUTE = 60 * SECOND

# What takes tensors, pictures or the files of models; all other requests are short.
_INFERENCE = "/inference.GRPCInferenceService/"
LARGE = frozenset(
    {f"{_INFERENCE}{name}" for name in ("ModelInfer", "ModelStreamInfer", "RepositoryModelLoad")}
    | {f"/crossrun.v1.Vision/{name}" for name in ("Classify", "Detect")}
    | {f"/tensorflow.serving.PredictionService/{name}" for name in ("Classify", "Predict")}
)
SHORT = 1 << 20  # bytes


@dataclass(frozen=True)
class Limits:
    """Sizes are in bytes; times in milliseconds, as gRPC's and Triton's options have them."""

    request_size: int = 256 << 20  # of a request of `LARGE`, packed and unpacked
    bytes_in_flight: int = 1 << 30  # of requests and answers; one connection may have half of them
    connections: int = 512
    streams: int = 1000  # calls at once on a connection
    empty_frames: int = 1000  # resets, settings, pings and the like in a second
    handshake_timeout: int = 20 * SECOND
    connection_idle: int = 30 * MINUTE
    connection_age: int = NEVER
    connection_age_grace: int = NEVER
    keepalive_time: int = 120 * MINUTE
    keepalive_timeout: int = 20 * SECOND
    min_ping_interval: int = 5 * MINUTE
    max_ping_strikes: int = 2

    def message_size(self, method: str) -> int:
        """Return the limit of a message of a method, which its path names."""
        return self.request_size if method in LARGE else SHORT

    def check(self) -> None:
        """Find what cannot be kept.

        Raises:
            ServingError: a request may be larger than all that a connection may have in flight.
        """
        if 2 * self.request_size > self.bytes_in_flight:
            raise ServingError(
                f"--max-request-size is {self.request_size}, expected at most half of "
                f"--max-bytes-in-flight, which is {self.bytes_in_flight}: "
                "that is what one connection may have"
            )
