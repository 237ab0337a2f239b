"""The descriptors of these stubs, in a pool of their own.

The pool that generated code shares by default holds each name once. Others describe the packages
`inference` and `tensorflow.serving` too: tritonclient, KServe, MLServer, TensorFlow Serving's API.
In a pool of their own ours share a process with any of them. `generate.py` has the stubs use it.
"""

from importlib import util
from types import ModuleType

from google.protobuf import any_pb2, wrappers_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.symbol_database import SymbolDatabase

POOL = DescriptorPool()
for imported in (any_pb2, wrappers_pb2):  # by files of ours
    POOL.AddSerializedFile(imported.DESCRIPTOR.serialized_pb)


def _builder() -> ModuleType:
    """Give protobuf's maker of message classes, in a copy that registers them in POOL.

    Only the implementation in pure Python registers them in a pool at all.
    """
    spec = util.find_spec("google.protobuf.internal.builder")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module._sym_db = SymbolDatabase(POOL)  # type: ignore[attr-defined]
    return module


BUILDER = _builder()
