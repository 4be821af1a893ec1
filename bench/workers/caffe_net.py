"""Worker of BVLC Caffe and of torchcaffe: one script for pycaffe, run by both."""

import sys

import caffe
import serving

SOLVERS = {
    "s1r1": "prototxt/solver_s1r1.prototxt",
    "cnn": "prototxt/solver_cnn.prototxt",
    "autoencoder": "prototxt/solver_pretrain_autoencoder.prototxt",
}
OUTPUTS = {
    "s1r1": ("probabilities", "generated"),
    "cnn": ("probabilities",),
    "autoencoder": ("reconstructed",),
}
BATCHES_READ = 100


def training(name):
    solver = caffe.get_solver(SOLVERS[name])
    return lambda: solver.step(1), 1


def inference(name, batch):
    net = caffe.Net("deploy/" + name + ".prototxt", caffe.TEST)
    net.copy_from("reference/" + name + ".caffemodel")
    images = serving.images(name, batch)
    net.blobs["image"].reshape(*images.shape)
    net.reshape()

    def iteration():
        net.blobs["image"].data[...] = images
        net.forward()
        return {blob: net.blobs[blob].data for blob in OUTPUTS[name]}

    serving.check(name, iteration())
    return iteration, serving.repeats(batch)


def reading():
    net = caffe.Net("deploy/data.prototxt", caffe.TRAIN)

    def iteration():
        for _ in range(BATCHES_READ):
            net.forward()
            net.blobs["pair"].data  # noqa: B018 (to look at it is what is measured)

    return iteration, 1


def main():
    task, name, batch = serving.arguments()
    caffe.set_mode_cpu()
    if task == "training":
        iteration, repeats = training(name)
    elif task == "inference":
        iteration, repeats = inference(name, batch)
    else:
        iteration, repeats = reading()
    python = ".".join(map(str, sys.version_info[:2]))
    serving.serve(iteration, repeats, "pycaffe {}, Python {}".format(caffe.__version__, python))


if __name__ == "__main__":
    main()
