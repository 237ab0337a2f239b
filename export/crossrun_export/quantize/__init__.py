"""A float classifier to int8, the best of several calibrations. Knows ONNX; knows no Keras.

onnxruntime's own quantizer does the work, with activations in uint8 and weights in int8 per
channel, as its CPU kernels want them. Around it stands what it lacks: the uint8 entrance
(`prepare`), scales of the weights (`weights`), correction of the biases (`bias`).
"""

from crossrun_export.quantize.search import Quantized, quantize

__all__ = ["Quantized", "quantize"]
