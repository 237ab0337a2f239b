"""Which providers a session was asked for, and which of them compute it. Knows no session."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from crossrun_server.proofs.evidence import Evidence
from crossrun_server.runtime import defaults, providers
from crossrun_server.runtime.providers import CPU, ProviderRequest


@dataclass(frozen=True)
class Assignment:
    """Which providers a session was asked for, and which of them really compute it."""

    requested: str
    nodes: Mapping[str, int]  # of the graph by provider, as onnxruntime assigned them
    skipped: Mapping[str, str]  # provider → why it does not run
    # Provider → its precision, as defaults.described_precision returns it.
    precisions: Mapping[str, str] = field(default_factory=dict)
    on_card: bool = False  # whether a graphics card computes any node
    evidence: Evidence = field(default_factory=Evidence)  # of how far off its answers are
    threads: int = 1  # of the CPU, for each run
    places: int = 1  # how many runs there are at once

    @property
    def provider(self) -> str:
        """The provider that computes most nodes; the CPU for a model without nodes."""
        return max(self.nodes, key=self.nodes.__getitem__, default=CPU)

    @property
    def asked_precision(self) -> str:
        """The precision that the provider besides the CPU's was told to use; empty if unknown."""
        return next((told for name, told in self.precisions.items() if name != CPU), "")

    def __str__(self) -> str:
        return ", ".join(f"{name} ({self._remark(name)})" for name in self.nodes) or CPU

    def _remark(self, name: str) -> str:
        """Return text such as `3 nodes, f32`; the precision is left out if it is unknown."""
        return ", ".join(filter(None, (_counted(self.nodes[name]), self.precisions.get(name))))


def assigned(
    request: ProviderRequest, nodes: dict[str, int], skipped: dict[str, str], threads: int
) -> Assignment:
    """Describe what computes a session, and in which precision.

    Args:
        request: the providers that were asked for.
        nodes: numbers of nodes of the graph, by provider.
        skipped: provider → why it does not run.
        threads: of the CPU, for each run.
    """
    running = [provider for provider in request.providers if provider.name in nodes]
    precisions = {provider.name: defaults.described_precision(provider) for provider in running}
    on_card = any("GPU" in providers.device(provider) for provider in running)
    return Assignment(
        requested=str(request),
        nodes=nodes,
        skipped=skipped,
        precisions=precisions,
        on_card=on_card,
        threads=threads,
    )


def _counted(nodes: int) -> str:
    return f"{nodes} node" if nodes == 1 else f"{nodes} nodes"
