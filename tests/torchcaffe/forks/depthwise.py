"""MobileNets' layers: a convolution of each channel, and ReLU6."""

import numpy as np

from forks.definition import define

random = np.random.RandomState(1)


def depthwise(stride, pad):
    def tops(inputs, params):
        (x,), (weight, bias) = inputs, params
        x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        kernel = weight.shape[2]
        rows, columns = ((size - kernel) // stride + 1 for size in x.shape[2:])
        top = np.zeros((*x.shape[:2], rows, columns))
        for i in range(rows):
            for j in range(columns):
                at = (
                    slice(i * stride, i * stride + kernel),
                    slice(j * stride, j * stride + kernel),
                )
                top[:, :, i, j] = (x[(..., *at)] * weight[:, 0]).sum((2, 3)) + bias
        return [top]

    return tops


for layer_type, fields in (
    ("DepthwiseConvolution", "num_output: 3  group: 3"),
    ("ConvolutionDepthwise", ""),
):
    define(
        layer_type,
        layer_type,
        {"x": random.standard_normal((2, 3, 6, 5))},
        f"convolution_param {{ {fields}  kernel_size: 3  stride: 2  pad: 1 }}",
        depthwise(2, 1),
        params=[random.standard_normal((3, 1, 3, 3)), random.standard_normal(3)],
    )

define(
    "ReLU6",
    "ReLU6",
    {"x": 6 * random.standard_normal((2, 3, 4))},
    "",
    lambda inputs, params: [np.minimum(np.maximum(inputs[0], 0), 6)],
)
