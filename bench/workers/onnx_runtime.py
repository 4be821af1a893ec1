"""Worker of ONNX Runtime: the plain PyTorch nets written as ONNX graphs.

torch.onnx has no unpooling, so the graphs are written here node by node.
"""

import os

import numpy as np
import onnxruntime
import plain_pytorch
import serving
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 18, 10


class Graph:
    """An ONNX graph that grows node by node; values are named by number."""

    def __init__(self):
        self.nodes, self.constants = [], []
        self.names = 0

    def name(self):
        self.names += 1
        return f"value{self.names}"

    def constant(self, array):
        array = np.asarray(array)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), self.name()))
        return self.constants[-1].name

    def add(self, operator, *inputs, tops=1, **attributes):
        """Name of the node's output, or a list of them if `tops` is more than one."""
        outputs = [self.name() for _ in range(tops)]
        self.nodes.append(helper.make_node(operator, list(inputs), outputs, **attributes))
        return outputs if tops > 1 else outputs[0]

    def model(self, input_name, shape, outputs):
        """The ModelProto; `outputs` is {name to give: value}."""
        for name, value in outputs.items():
            self.nodes.append(helper.make_node("Identity", [value], [name]))
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.constants,
        )
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)


def add_block(graph, operator, x, convolution, norm):
    """Convolution or deconvolution that keeps the size, BatchNorm, ReLU."""
    kernel = convolution.kernel_size[0]
    weight = graph.constant(convolution.weight.numpy())
    x = graph.add(operator, x, weight, kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4)
    statistics = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    constants = [graph.constant(values.numpy()) for values in statistics]
    return graph.add("Relu", graph.add("BatchNormalization", x, *constants, epsilon=norm.eps))


def add_encoder(graph, x, encoder):
    """(features, indices); a MaxPool's indices run over the whole N x C x H x W tensor."""
    all_indices = []
    for convolution, norm in zip(encoder.convolutions, encoder.norms):
        x = add_block(graph, "Conv", x, convolution, norm)
        x, indices = graph.add("MaxPool", x, tops=2, kernel_shape=[2, 2], strides=[2, 2])
        all_indices.append(indices)
    return x, all_indices


def add_decoder(graph, x, all_indices, decoder):
    for convolution, norm, indices in zip(
        decoder.convolutions, decoder.norms, reversed(all_indices)
    ):
        x = graph.add("MaxUnpool", x, indices, kernel_shape=[2, 2], strides=[2, 2])
        x = add_block(graph, "ConvTranspose", x, convolution, norm)
    return x


def add_classifier(graph, x, classifier):
    for linear in (classifier[1], classifier[3]):
        weight, bias = (graph.constant(p.numpy()) for p in (linear.weight, linear.bias))
        x = graph.add("Gemm", x, weight, bias, transB=1)
        if linear is classifier[1]:
            x = graph.add("Relu", x)
    return graph.add("Softmax", x, axis=1)


def add_delta(graph, features):
    """The scaled distance of the unit-length features of the batch's two halves."""
    features = graph.add("Flatten", features)
    length = graph.add("ReduceL2", features, graph.constant(np.array([1])), keepdims=1)
    length = graph.add("Max", length, graph.constant(np.float32(1e-12)))
    halves = graph.add("Split", graph.add("Div", features, length), tops=2, axis=0, num_outputs=2)
    scale = graph.constant(np.float32(plain_pytorch.SCALE_OF_DELTA))
    return graph.add("Mul", graph.add("Abs", graph.add("Sub", *halves)), scale)


def cnn(graph, net):
    features, _ = add_encoder(graph, "image", net.encoder2)
    features = graph.add("Flatten", features)
    return {"probabilities": add_classifier(graph, features, net.classifier)}


def autoencoder(graph, net):
    features, indices = add_encoder(graph, "image", net.encoder1)
    return {"reconstructed": add_decoder(graph, features, indices, net.decoder)}


def s1r1(graph, net):
    features, indices = add_encoder(graph, "image", net.encoder1)
    generated = add_decoder(graph, features, indices, net.decoder1)
    faces = graph.add("Concat", "image", generated, axis=0)
    features, _ = add_encoder(graph, faces, net.encoder2)
    probabilities = add_classifier(graph, add_delta(graph, features), net.classifier)
    return {"probabilities": probabilities, "generated": generated}


GRAPHS = {"s1r1": s1r1, "cnn": cnn, "autoencoder": autoencoder}


def session(name, shape):
    net = plain_pytorch.NETS[name]().requires_grad_(False)
    plain_pytorch.load(net, serving.weights(name))
    graph = Graph()
    model = graph.model("image", shape, GRAPHS[name](graph, net))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def main():
    _, name, batch = serving.arguments()
    images = serving.images(name, batch)
    running = session(name, images.shape)
    names = [output.name for output in running.get_outputs()]

    def iteration():
        return dict(zip(names, running.run(names, {"image": images})))

    serving.check(name, iteration())
    versions = f"ONNX Runtime {onnxruntime.__version__}"
    serving.serve(iteration, serving.repeats(batch), versions)


if __name__ == "__main__":
    main()
