from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Origin(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORIGIN_UNSPECIFIED: _ClassVar[Origin]
    ORIGIN_BUILD: _ClassVar[Origin]
    ORIGIN_PLUGIN: _ClassVar[Origin]

class Reference(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFERENCE_UNSPECIFIED: _ClassVar[Reference]
    REFERENCE_PHOTOGRAPHS: _ClassVar[Reference]
    REFERENCE_DRAWN: _ClassVar[Reference]
    REFERENCE_CPU: _ClassVar[Reference]
ORIGIN_UNSPECIFIED: Origin
ORIGIN_BUILD: Origin
ORIGIN_PLUGIN: Origin
REFERENCE_UNSPECIFIED: Reference
REFERENCE_PHOTOGRAPHS: Reference
REFERENCE_DRAWN: Reference
REFERENCE_CPU: Reference

class ListProvidersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListProvidersResponse(_message.Message):
    __slots__ = ("providers", "onnxruntime_version")
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    ONNXRUNTIME_VERSION_FIELD_NUMBER: _ClassVar[int]
    providers: _containers.RepeatedCompositeFieldContainer[Provider]
    onnxruntime_version: str
    def __init__(self, providers: _Optional[_Iterable[_Union[Provider, _Mapping]]] = ..., onnxruntime_version: _Optional[str] = ...) -> None: ...

class Provider(_message.Message):
    __slots__ = ("name", "short_name", "origin", "available", "reason", "devices")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHORT_NAME_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    name: str
    short_name: str
    origin: Origin
    available: bool
    reason: str
    devices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., short_name: _Optional[str] = ..., origin: _Optional[_Union[Origin, str]] = ..., available: bool = ..., reason: _Optional[str] = ..., devices: _Optional[_Iterable[str]] = ...) -> None: ...

class ListPlacementsRequest(_message.Message):
    __slots__ = ("model", "version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class ListPlacementsResponse(_message.Message):
    __slots__ = ("placements",)
    PLACEMENTS_FIELD_NUMBER: _ClassVar[int]
    placements: _containers.RepeatedCompositeFieldContainer[Placement]
    def __init__(self, placements: _Optional[_Iterable[_Union[Placement, _Mapping]]] = ...) -> None: ...

class Placement(_message.Message):
    __slots__ = ("model", "version", "requested", "running", "skipped", "proof", "lane", "places", "threads")
    class SkippedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    requested: str
    running: _containers.RepeatedCompositeFieldContainer[NodeCount]
    skipped: _containers.ScalarMap[str, str]
    proof: Proof
    lane: int
    places: int
    threads: int
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., requested: _Optional[str] = ..., running: _Optional[_Iterable[_Union[NodeCount, _Mapping]]] = ..., skipped: _Optional[_Mapping[str, str]] = ..., proof: _Optional[_Union[Proof, _Mapping]] = ..., lane: _Optional[int] = ..., places: _Optional[int] = ..., threads: _Optional[int] = ...) -> None: ...

class Proof(_message.Message):
    __slots__ = ("reference", "largest_difference", "agreement", "tolerance", "precision", "asked_precision", "description")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    LARGEST_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    ASKED_PRECISION_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    reference: Reference
    largest_difference: float
    agreement: float
    tolerance: float
    precision: str
    asked_precision: str
    description: str
    def __init__(self, reference: _Optional[_Union[Reference, str]] = ..., largest_difference: _Optional[float] = ..., agreement: _Optional[float] = ..., tolerance: _Optional[float] = ..., precision: _Optional[str] = ..., asked_precision: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class NodeCount(_message.Message):
    __slots__ = ("provider", "nodes", "precision")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    provider: str
    nodes: int
    precision: str
    def __init__(self, provider: _Optional[str] = ..., nodes: _Optional[int] = ..., precision: _Optional[str] = ...) -> None: ...
