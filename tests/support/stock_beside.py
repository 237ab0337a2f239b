"""A user of tritonclient and of our stubs at once; run by test_stubs_beside.py.

    python -m tests.support.stock_beside HOST:PORT FIRST SECOND

FIRST and SECOND, the modules of the two clients, are imported in this order.
"""

import sys
from importlib import import_module

import grpc
import numpy as np


def main() -> None:
    address, *modules = sys.argv[1:]
    for module in modules:
        import_module(module)
    fives, ones = np.full((1, 16), 5, np.int32), np.ones((1, 16), np.int32)
    theirs, ours = ask_by_triton(address, fives, ones), ask_by_stub(address, fives, ones)
    assert (theirs == fives + ones).all()
    assert (ours == fives + ones).all()
    sys.stdout.write("all calls answered\n")


def ask_by_triton(address: str, *values: np.ndarray) -> np.ndarray:
    import tritonclient.grpc as triton

    client = triton.InferenceServerClient(address)
    inputs = []
    for number, value in enumerate(values):
        inputs.append(triton.InferInput(f"INPUT{number}", value.shape, "INT32"))
        inputs[-1].set_data_from_numpy(value)
    assert client.get_model_config("simple").config.max_batch_size == 8
    answer: np.ndarray = client.infer("simple", inputs).as_numpy("OUTPUT0")
    client.close()
    return answer


def ask_by_stub(address: str, *values: np.ndarray) -> np.ndarray:
    from crossrun.oip import grpc_service_pb2 as pb
    from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub

    request = pb.ModelInferRequest(model_name="simple")
    for number, value in enumerate(values):
        request.inputs.add(name=f"INPUT{number}", shape=value.shape, datatype="INT32")
        request.raw_input_contents.append(value.tobytes())
    with grpc.insecure_channel(address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        config = stub.ModelConfig(pb.ModelConfigRequest(name="simple")).config
        reply = stub.ModelInfer(request)
    assert config.max_batch_size == 8
    index = [output.name for output in reply.outputs].index("OUTPUT0")
    return np.frombuffer(reply.raw_output_contents[index], np.int32).reshape(1, 16)


if __name__ == "__main__":
    main()
