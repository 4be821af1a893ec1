"""Worker of OpenCV's dnn module, which reads Caffe's files but no Python layers."""

import os

import cv2
import serving

OUTPUTS = {"cnn": ["probabilities"]}


def main():
    _, name, batch = serving.arguments()
    cv2.setNumThreads(int(os.environ["OMP_NUM_THREADS"]))
    net = cv2.dnn.readNetFromCaffe(f"deploy/{name}.prototxt", f"reference/{name}.caffemodel")
    images = serving.images(name, batch)

    def iteration():
        net.setInput(images, "image")
        return dict(zip(OUTPUTS[name], net.forward(OUTPUTS[name])))

    serving.check(name, iteration())
    serving.serve(iteration, serving.repeats(batch), "OpenCV " + cv2.__version__)


if __name__ == "__main__":
    main()
