"""Worker of the nets in plain PyTorch: `plain.py <eager|...> <task> <net> <batch>`.

The first word is parts joined by +: eager or compile, and channels_last. The task `matmul` times
the product of two 2048 x 2048 matrices.
"""

import sys

import plain_pytorch
import serving
import torch
from torch._inductor import config as inductor_config

MATRIX = 2048
BATCHES = 8


def training(name, form):
    """One step of the solver, on batches that were made before; says nothing of reading."""
    net = prepared(plain_pytorch.NETS[name](), form)
    optimizer = plain_pytorch.optimizer(net)
    loss_of = torch.compile(net) if "compile" in form else net
    batches = [batch(64, form) for _ in range(BATCHES)]

    def iteration():
        batches.append(batches.pop(0))
        optimizer.zero_grad()
        loss_of(*batches[0]).backward()
        optimizer.step()

    iteration()
    return iteration, 1


def inference(name, count, form):
    inductor_config.freezing = True  # the net's weights are constants: BatchNorm is folded
    net = prepared(plain_pytorch.NETS[name](), form).eval().requires_grad_(False)
    plain_pytorch.load(net, serving.weights(name))
    outputs_of = torch.compile(net.outputs) if "compile" in form else net.outputs
    images = torch.from_numpy(serving.images(name, count))

    @torch.no_grad()
    def iteration():
        x = images.to(memory_format=memory_format(form))
        return {blob: values.numpy() for blob, values in zip(net.OUTPUTS, outputs_of(x))}

    serving.check(name, iteration())
    return iteration, serving.repeats(count)


def memory_format(form):
    return torch.channels_last if "channels_last" in form else torch.contiguous_format


def prepared(net, form):
    return net.to(memory_format=memory_format(form))


def batch(count, form):
    """(image, reference, label) as the Data layer gives them."""
    faces = torch.rand(2, count, 1, 64, 64)
    image, reference = (part.to(memory_format=memory_format(form)) for part in faces)
    return image, reference, torch.randint(plain_pytorch.CLASSES, (count,))


def matrix_product():
    a, b = torch.rand(2, MATRIX, MATRIX)
    product = torch.empty(MATRIX, MATRIX)
    return lambda: torch.mm(a, b, out=product), 2


def main():
    form = sys.argv.pop(1).split("+")
    task, name, count = serving.arguments()
    torch.manual_seed(0)
    if task == "training":
        iteration, repeats = training(name, form)
    elif task == "inference":
        iteration, repeats = inference(name, count, form)
    else:
        iteration, repeats = matrix_product()
    serving.serve(iteration, repeats, "torch " + torch.__version__)


if __name__ == "__main__":
    main()
