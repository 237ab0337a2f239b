"""crossrun.v1.Providers: which execution providers there are, and which compute the models."""

import asyncio
from collections.abc import Iterable

from crossrun.v1 import providers_pb2 as pb
from crossrun.v1.providers_pb2_grpc import ProvidersServicer
from crossrun_server.models.model import Model
from crossrun_server.models.repository import Repository
from crossrun_server.proofs import evidence, proof_file
from crossrun_server.proofs.evidence import Evidence
from crossrun_server.runtime import inventory
from crossrun_server.runtime.inventory import Origin, ProviderStatus
from crossrun_server.runtime.providers import short
from crossrun_server.runtime.session_options import VERSION
from crossrun_server.services.edge import Context

ORIGINS: dict[Origin, pb.Origin] = {
    "build": pb.ORIGIN_BUILD,
    "plugin": pb.ORIGIN_PLUGIN,
    "none": pb.ORIGIN_UNSPECIFIED,
}
REFERENCES: dict[str, pb.Reference] = {
    evidence.NOTHING: pb.REFERENCE_UNSPECIFIED,
    proof_file.PHOTOGRAPHS: pb.REFERENCE_PHOTOGRAPHS,
    proof_file.DRAWN: pb.REFERENCE_DRAWN,
    evidence.RANDOM: pb.REFERENCE_CPU,
}


class ProvidersService(ProvidersServicer):
    """Answers for this installation and for every model of a repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def ListProviders(
        self, request: pb.ListProvidersRequest, context: Context
    ) -> pb.ListProvidersResponse:
        """List what is installed and say what can run; the first call tries it."""
        statuses = await asyncio.to_thread(inventory.provider_statuses)
        return pb.ListProvidersResponse(
            providers=[_provider(status) for status in statuses],
            onnxruntime_version=VERSION,
        )

    async def ListPlacements(
        self, request: pb.ListPlacementsRequest, context: Context
    ) -> pb.ListPlacementsResponse:
        """Say what the loaded models run on, and how that was proven."""
        models = self._repository.select(request.model, request.version)
        return pb.ListPlacementsResponse(placements=_placements(models))


def _provider(status: ProviderStatus) -> pb.Provider:
    return pb.Provider(
        name=status.name,
        short_name=short(status.name),
        origin=ORIGINS[status.origin],
        available=status.runs,
        reason=status.reason,
        devices=status.devices,
    )


def _placements(models: Iterable[Model]) -> Iterable[pb.Placement]:
    for model in models:
        for lane, assignment in enumerate(model.assignments):
            yield pb.Placement(
                model=model.name,
                version=model.version,
                requested=assignment.requested,
                running=[
                    pb.NodeCount(
                        provider=name, nodes=count, precision=assignment.precisions.get(name, "")
                    )
                    for name, count in assignment.nodes.items()
                ],
                skipped=assignment.skipped,
                proof=_proof(assignment.evidence),
                lane=lane,
                places=assignment.places,
                threads=assignment.threads,
            )


def _proof(found: Evidence) -> pb.Proof:
    return pb.Proof(
        reference=REFERENCES[found.origin],
        largest_difference=found.difference,
        agreement=found.agreement,
        tolerance=found.allowed,
        precision=found.precision,
        asked_precision=found.asked_precision,
        description=str(found),
    )
