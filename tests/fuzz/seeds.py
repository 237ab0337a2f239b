"""A valid message of every RPC, for others to damage."""

import json

from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from crossrun.oip import grpc_service_pb2 as oip
from crossrun.tfserving import model_service_pb2, prediction_service_pb2, tensorflow_pb2
from crossrun.v1 import providers_pb2, vision_pb2
from crossrun_server.services import reflection
from tests.support.pictures import encoded, plain, scene
from tests.support.predicting import examples, predict, tensor
from tests.support.requests import raw, simple

FILES = (
    oip.DESCRIPTOR,
    vision_pb2.DESCRIPTOR,
    providers_pb2.DESCRIPTOR,
    prediction_service_pb2.DESCRIPTOR,
    model_service_pb2.DESCRIPTOR,
    health_pb2.DESCRIPTOR,
    *reflection.FILES,
)
# Path → whether its requests and its answers are streams.
METHODS = {
    f"/{service.full_name}/{method.name}": (method.client_streaming, method.server_streaming)
    for file in FILES
    for service in file.services_by_name.values()
    for method in service.methods
}
PREDICTION = "/tensorflow.serving.PredictionService"
OIP = "/inference.GRPCInferenceService"
SPARE = "spare"  # the model that is loaded and unloaded


def typed() -> oip.ModelInferRequest:
    message = oip.ModelInferRequest(model_name="identity_fp32", id="7")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    message.inputs[0].contents.fp32_contents.extend([1.5, -2])
    message.parameters["priority"].uint64_param = 1
    message.parameters["timeout"].int64_param = 1_000_000
    return message


def strings() -> oip.ModelInferRequest:
    message = oip.ModelInferRequest(model_name="identity_bytes", raw_input_contents=[raw("BYTES")])
    message.inputs.add(name="x", datatype="BYTES", shape=[1, 2])
    return message


def classes() -> oip.ModelInferRequest:
    message = simple(1, 2)
    message.outputs.add(name="OUTPUT0").parameters["classification"].int64_param = 3
    return message


def shared() -> oip.ModelInferRequest:
    message = oip.ModelInferRequest(model_name="identity_fp32")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    message.outputs.add(name="y")
    for one in (message.inputs[0], message.outputs[0]):
        one.parameters["shared_memory_region"].string_param = "memory"
        one.parameters["shared_memory_byte_size"].int64_param = 8
        one.parameters["shared_memory_offset"].int64_param = 0
    return message


def load() -> oip.RepositoryModelLoadRequest:
    config = {
        "max_batch_size": 4,
        "dynamic_batching": {"priority_levels": 2, "default_priority_level": 1},
        "model_warmup": [
            {"count": 2, "inputs": {"x": {"data_type": 11, "dims": [1], "zero_data": True}}}
        ],
    }
    message = oip.RepositoryModelLoadRequest(model_name=SPARE)
    message.parameters["config"].string_param = json.dumps(config)
    return message


def trace() -> oip.TraceSettingRequest:
    message = oip.TraceSettingRequest(model_name="simple")
    message.settings["trace_rate"].value.append("5")
    message.settings["trace_count"].value.append("-1")
    return message


def log() -> oip.LogSettingsRequest:
    message = oip.LogSettingsRequest()
    message.settings["log_info"].bool_param = True
    message.settings["log_format"].string_param = "default"
    return message


PICTURES = [
    plain(255, 0, 0),
    plain(0, 0, 255, "JPEG"),
    encoded(scene((64, 48)), "JPEG", progressive=True),
    encoded(scene((64, 48)).convert("P")),
    encoded(scene((32, 24)).convert("I;16")),
]
INFER: list[Message] = [simple(1, 2), typed(), strings(), classes(), shared()]
# Path → messages; those of the others are empty.
MESSAGES: dict[str, list[Message]] = {
    f"{OIP}/ModelInfer": INFER,
    f"{OIP}/ModelStreamInfer": INFER,
    f"{OIP}/ModelReady": [oip.ModelReadyRequest(name="simple", version="1")],
    f"{OIP}/ModelMetadata": [oip.ModelMetadataRequest(name="simple", version="1")],
    f"{OIP}/ModelConfig": [oip.ModelConfigRequest(name="simple", version="1")],
    f"{OIP}/ModelStatistics": [oip.ModelStatisticsRequest(name="simple", version="1")],
    f"{OIP}/RepositoryIndex": [oip.RepositoryIndexRequest(ready=True)],
    f"{OIP}/RepositoryModelLoad": [load(), oip.RepositoryModelLoadRequest(model_name=SPARE)],
    f"{OIP}/RepositoryModelUnload": [oip.RepositoryModelUnloadRequest(model_name=SPARE)],
    f"{OIP}/SystemSharedMemoryStatus": [oip.SystemSharedMemoryStatusRequest(name="memory")],
    f"{OIP}/SystemSharedMemoryRegister": [
        oip.SystemSharedMemoryRegisterRequest(name="memory", key="/crossrun_fuzz", byte_size=64)
    ],
    f"{OIP}/SystemSharedMemoryUnregister": [
        oip.SystemSharedMemoryUnregisterRequest(name="another")
    ],
    f"{OIP}/CudaSharedMemoryRegister": [
        oip.CudaSharedMemoryRegisterRequest(name="a", raw_handle=bytes(64), byte_size=8)
    ],
    f"{OIP}/TraceSetting": [trace()],
    f"{OIP}/LogSettings": [log()],
    "/crossrun.v1.Vision/Classify": [
        vision_pb2.ClassifyRequest(model="colours", images=PICTURES, top_k=2, min_score=0.1)
    ],
    "/crossrun.v1.Vision/Detect": [
        vision_pb2.DetectRequest(model="finder", images=PICTURES, min_score=0.5, labels=["red"]),
        vision_pb2.DetectRequest(
            model="finder", images=PICTURES, tiles=vision_pb2.Tiles(columns=2, rows=3, overlap=0.1)
        ),
    ],
    f"{PREDICTION}/Predict": [
        predict("identity_fp32", x=tensor(tensorflow_pb2.DT_FLOAT, (1, 2), float_val=[1.5, -2])),
        predict("identity_bytes", x=tensor(tensorflow_pb2.DT_STRING, (1, 2), string_val=[b"a"])),
        predict(
            "identity_int64",
            ["y"],
            x=tensor(tensorflow_pb2.DT_INT64, (1, 2), tensor_content=bytes(16)),
        ),
    ],
    f"{PREDICTION}/Classify": [
        prediction_service_pb2.ClassificationRequest(
            model_spec=prediction_service_pb2.ModelSpec(name="colours"), input=examples(*PICTURES)
        )
    ],
    f"{PREDICTION}/GetModelMetadata": [
        prediction_service_pb2.GetModelMetadataRequest(
            model_spec=prediction_service_pb2.ModelSpec(name="colours"),
            metadata_field=["signature_def"],
        )
    ],
    "/tensorflow.serving.ModelService/GetModelStatus": [
        model_service_pb2.GetModelStatusRequest(
            model_spec=prediction_service_pb2.ModelSpec(name="counted")
        )
    ],
    "/grpc.health.v1.Health/Check": [health_pb2.HealthCheckRequest(service="simple")],
    "/grpc.health.v1.Health/Watch": [health_pb2.HealthCheckRequest(service="simple")],
}
for reflecting in reflection.services(reflection.FILES):
    MESSAGES[f"/{reflecting}/ServerReflectionInfo"] = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="crossrun.v1.Vision"),
    ]
