"""The networks of keras.applications, known by how they are built, and the pixels they take.

A network is known by its first layer with weights and by several layers behind it: their kinds,
the names that Keras gives them, kernels, strides and, where no width multiplier changes them,
filters. The model's own name says nothing, for anybody can choose it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Application:
    """A family of networks."""

    name: str
    pixels: str | None  # what it takes without layers that scale; None if nothing tells
    first: str  # a pattern for `_described`, likewise those that follow
    others: tuple[str, ...]


# https://keras.io/api/applications: `preprocess_input` of each module, and for those that have
# include_preprocessing what the layers do that it leaves out.
APPLICATIONS = (
    Application(
        "MobileNet",
        "-1..1",
        r"Conv2D conv1 3x3/2 \d+",
        (
            r"DepthwiseConv2D conv_dw_1 3x3/1",
            r"Conv2D conv_pw_1 1x1/1 \d+",
            r"DepthwiseConv2D conv_dw_2 3x3/2",
        ),
    ),
    Application(
        "MobileNetV2",
        "-1..1",
        r"Conv2D Conv1 3x3/2 \d+",
        (
            r"DepthwiseConv2D expanded_conv_depthwise 3x3/1",
            r"Conv2D expanded_conv_project 1x1/1 \d+",
            r"DepthwiseConv2D block_1_depthwise 3x3/2",
        ),
    ),
    Application(
        "MobileNetV3",
        "-1..1",
        r"Conv2D conv 3x3/2 16",
        (
            r"DepthwiseConv2D expanded_conv_depthwise 3x3/[12]",
            r"Conv2D expanded_conv_1_expand 1x1/1 \d+",
            r"DepthwiseConv2D expanded_conv_1_depthwise 3x3/2",
        ),
    ),
    Application(
        "EfficientNet",
        None,
        r"Conv2D stem_conv 3x3/2 \d+",
        (
            r"DepthwiseConv2D block1a_dwconv 3x3/1",
            r"Conv2D block1a_se_reduce 1x1/1 \d+",
            r"Conv2D block1a_project_conv 1x1/1 \d+",
        ),
    ),
    Application(
        "EfficientNetV2 S, M or L",
        "-1..1",
        r"Conv2D stem_conv 3x3/2 (24|32)",
        (
            r"Conv2D block1a_project_conv 3x3/1 (24|32)",
            r"Conv2D block2a_expand_conv 3x3/2 \d+",
            r"Conv2D block2a_project_conv 1x1/1 \d+",
        ),
    ),
    # Its documentation says -1..1, its own layers do what `torch` does.
    Application(
        "EfficientNetV2 B",
        None,
        r"Conv2D stem_conv 3x3/2 \d+",
        (
            r"Conv2D block1a_project_conv 3x3/1 16",
            r"Conv2D block2a_expand_conv 3x3/2 \d+",
            r"Conv2D block2a_project_conv 1x1/1 \d+",
        ),
    ),
    Application(
        "ResNet",
        "caffe",
        r"Conv2D conv1_conv 7x7/2 64",
        (
            r"BatchNormalization conv1_bn",
            r"Conv2D conv2_block1_0_conv 1x1/1 256",
            r"Conv2D conv2_block1_1_conv 1x1/1 64",
            r"BatchNormalization conv2_block1_1_bn",
        ),
    ),
    Application(
        "ResNetV2",
        "-1..1",
        r"Conv2D conv1_conv 7x7/2 64",
        (
            r"BatchNormalization conv2_block1_preact_bn",
            r"Conv2D conv2_block1_0_conv 1x1/1 256",
            r"Conv2D conv2_block1_1_conv 1x1/1 64",
        ),
    ),
    Application(
        "DenseNet",
        "torch",
        r"Conv2D conv1_conv 7x7/2 64",
        (
            r"BatchNormalization conv2_block1_0_bn",
            r"Conv2D conv2_block1_1_conv 1x1/1 128",
            r"Conv2D conv2_block1_2_conv 3x3/1 32",
        ),
    ),
    Application(
        "VGG",
        "caffe",
        r"Conv2D block1_conv1 3x3/1 64",
        (
            r"Conv2D block1_conv2 3x3/1 64",
            r"Conv2D block2_conv1 3x3/1 128",
            r"Conv2D block3_conv3 3x3/1 256",
        ),
    ),
    Application(
        "InceptionV3",
        "-1..1",
        r"Conv2D \w+ 3x3/2 32",
        (
            r"Conv2D \w+ 1x1/1 80",
            r"Conv2D \w+ 3x3/1 192",
            r"Concatenate mixed0",
            r"Concatenate mixed1",
        ),
    ),
    Application(
        "InceptionResNetV2",
        "-1..1",
        r"Conv2D \w+ 3x3/2 32",
        (
            r"Conv2D \w+ 1x1/1 80",
            r"Concatenate mixed_5b",
            r"Concatenate block35_1_mixed",
            r"Conv2D block35_1_conv 1x1/1 320",
        ),
    ),
    Application(
        "Xception",
        "-1..1",
        r"Conv2D block1_conv1 3x3/2 32",
        (
            r"Conv2D block1_conv2 3x3/1 64",
            r"SeparableConv2D block2_sepconv1 3x3/1 128",
            r"SeparableConv2D block2_sepconv2 3x3/1 128",
        ),
    ),
    Application(
        "NASNet",
        "-1..1",
        r"Conv2D stem_conv1 3x3/2 \d+",
        (
            r"BatchNormalization stem_bn1",
            r"Conv2D reduction_conv_1_stem_1 1x1/1 \d+",
            r"SeparableConv2D separable_conv_1_reduction_left1_stem_1 5x5/2 \d+",
        ),
    ),
    Application(
        "ConvNeXt",
        "torch",
        r"Conv2D \S*_stem_conv 4x4/4 \d+",
        (
            r"Conv2D \S*_stage_0_block_0_depthwise_conv 7x7/1 \d+",
            r"LayerScale \S*_stage_0_block_0_layer_scale",
            r"Dense \S*_stage_0_block_0_pointwise_conv_1",
        ),
    ),
)


def known(first: Any, networks: Iterable[Any]) -> Application | None:
    """The application whose first layer with weights this is, in one of some nested networks."""
    layers = [[_described(layer) for layer in network.layers] for network in networks]
    for application in APPLICATIONS:
        if re.fullmatch(application.first, _described(first)) and any(
            all(_has(those, pattern) for pattern in application.others) for those in layers
        ):
            return application
    return None


def _has(layers: list[str], pattern: str) -> bool:
    return any(re.fullmatch(pattern, layer) for layer in layers)


def _described(layer: Any) -> str:
    """Kind, name, and of a convolution kernel, stride and filters."""
    words = [type(layer).__name__, layer.name]
    if hasattr(layer, "kernel_size"):
        words.append(f"{'x'.join(map(str, layer.kernel_size))}/{layer.strides[0]}")
    if getattr(layer, "filters", None):
        words.append(str(layer.filters))
    return " ".join(words)
