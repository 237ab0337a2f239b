"""Whether int8 saturates on this processor. onnxruntime is asked; no list of processors is.

On x86 without VNNI its kernels for signed weights add products in 16 bits, which are too few, and
the answers of a model are wrong. It has others, for unsigned weights, that are right everywhere
and half as fast where they are not needed.
"""

import base64
import functools

import numpy as np
import onnxruntime

# MatMulInteger of UINT8 `x` [1, 2] with two weights of 127, INT32 `y` [1, 1].
PROBE = base64.b64decode(
    "CAg6VgoYCgF4CgF3EgF5Ig1NYXRNdWxJbnRlZ2VyEgFnKg0IAggBEANCAXdKAn9/WhMKAXgSDgoMCAISCAoCCAEKAggC"
    "YhMKAXkSDgoMCAYSCAoCCAEKAggBQgQKABAR"
)


@functools.cache
def saturates() -> bool:
    """Whether two of the largest products add up to less than they should."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(PROBE, options, providers=["CPUExecutionProvider"])
    (answer,) = session.run(["y"], {"x": np.full((1, 2), 255, np.uint8)})
    return int(answer[0, 0]) != 2 * 255 * 127
