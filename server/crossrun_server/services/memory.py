"""The shared memory extensions: lists, registers and forgets regions.

The RPCs for CUDA answer as on a server without a CUDA region: a client that unregisters all
regions before it starts, as Triton's examples do, sees what it expects.
"""

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceServicer
from crossrun_server.errors import InvalidRequest, UnknownRegion
from crossrun_server.services.edge import Context
from crossrun_server.tensors.shared_memory import Regions


class SharedMemoryService(GRPCInferenceServiceServicer):
    """Registers regions of system shared memory; it has no other kind."""

    def __init__(self, regions: Regions) -> None:
        self._regions = regions

    async def SystemSharedMemoryStatus(
        self, request: pb.SystemSharedMemoryStatusRequest, context: Context
    ) -> pb.SystemSharedMemoryStatusResponse:
        """List all regions, or only the named region."""
        response = pb.SystemSharedMemoryStatusResponse()
        for region in self._regions.status(request.name):
            entry = response.regions[region.name]
            entry.name, entry.key = region.name, region.key
            entry.offset, entry.byte_size = region.offset, region.byte_size
        return response

    async def SystemSharedMemoryRegister(
        self, request: pb.SystemSharedMemoryRegisterRequest, context: Context
    ) -> pb.SystemSharedMemoryRegisterResponse:
        """Map a part of a shared memory object under a name."""
        return await self.register(request)

    async def SystemSharedMemoryUnregister(
        self, request: pb.SystemSharedMemoryUnregisterRequest, context: Context
    ) -> pb.SystemSharedMemoryUnregisterResponse:
        """Forget the named region, or all of them if there is no name."""
        return await self.unregister(request)

    async def register(
        self, request: pb.SystemSharedMemoryRegisterRequest
    ) -> pb.SystemSharedMemoryRegisterResponse:
        """Do what SystemSharedMemoryRegister asks for, whoever asks.

        Raises:
            ServingError: see Regions.register.
        """
        self._regions.register(request.name, request.key, request.offset, request.byte_size)
        return pb.SystemSharedMemoryRegisterResponse()

    async def unregister(
        self, request: pb.SystemSharedMemoryUnregisterRequest
    ) -> pb.SystemSharedMemoryUnregisterResponse:
        """Do what SystemSharedMemoryUnregister asks for, whoever asks.

        Raises:
            NotEnabled: clients may not use shared memory.
        """
        self._regions.unregister(request.name)
        return pb.SystemSharedMemoryUnregisterResponse()

    async def CudaSharedMemoryStatus(
        self, request: pb.CudaSharedMemoryStatusRequest, context: Context
    ) -> pb.CudaSharedMemoryStatusResponse:
        """Return an empty list; fail if the request names a region, since it cannot exist."""
        self._regions.require_enabled()
        if request.name:
            raise UnknownRegion(f"Unable to find cuda shared memory region: {request.name!r}")
        return pb.CudaSharedMemoryStatusResponse()

    async def CudaSharedMemoryRegister(
        self, request: pb.CudaSharedMemoryRegisterRequest, context: Context
    ) -> pb.CudaSharedMemoryRegisterResponse:
        """Refuse the region, and say what to use instead."""
        self._regions.require_enabled()
        raise InvalidRequest(
            f"failed to register CUDA shared memory region: {request.name!r}: "
            "this server takes no CUDA regions; register system shared memory instead"
        )

    async def CudaSharedMemoryUnregister(
        self, request: pb.CudaSharedMemoryUnregisterRequest, context: Context
    ) -> pb.CudaSharedMemoryUnregisterResponse:
        """Do nothing, since there is no CUDA region to forget."""
        self._regions.require_enabled()
        return pb.CudaSharedMemoryUnregisterResponse()
