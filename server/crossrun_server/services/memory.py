"""The shared memory extensions: which regions there are, and which come and go.

CUDA's RPCs answer as those of a server that holds no CUDA region, so that a client which forgets
all regions before it starts, as Triton's examples do, finds what it expects.
"""

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceServicer
from crossrun_server.errors import InvalidRequest, UnknownRegion
from crossrun_server.services.edge import Context
from crossrun_server.tensors.shared_memory import Regions


class SharedMemoryService(GRPCInferenceServiceServicer):
    """Registers regions of system shared memory, and no others."""

    def __init__(self, regions: Regions) -> None:
        self._regions = regions

    async def SystemSharedMemoryStatus(
        self, request: pb.SystemSharedMemoryStatusRequest, context: Context
    ) -> pb.SystemSharedMemoryStatusResponse:
        """List all regions, or the one named."""
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
        """Forget the region named, or all."""
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
        """List no region; one that is named is not there."""
        self._regions.require_enabled()
        if request.name:
            raise UnknownRegion(f"Unable to find cuda shared memory region: {request.name!r}")
        return pb.CudaSharedMemoryStatusResponse()

    async def CudaSharedMemoryRegister(
        self, request: pb.CudaSharedMemoryRegisterRequest, context: Context
    ) -> pb.CudaSharedMemoryRegisterResponse:
        """Refuse, and say what to use instead."""
        self._regions.require_enabled()
        raise InvalidRequest(
            f"failed to register CUDA shared memory region: {request.name!r}: "
            "this server takes no CUDA regions; register system shared memory instead"
        )

    async def CudaSharedMemoryUnregister(
        self, request: pb.CudaSharedMemoryUnregisterRequest, context: Context
    ) -> pb.CudaSharedMemoryUnregisterResponse:
        """Have nothing to forget."""
        self._regions.require_enabled()
        return pb.CudaSharedMemoryUnregisterResponse()
