"""Run the test functions of one file inside an engine's interpreter (Python 3.9, no pytest).

    PREFIX/bin/python3 tests/in_caffe/run.py layers.py results.json

results.json gets {function: traceback or null}, rewritten after each function, so that an abort of
Caffe is seen as a function without a result.
"""

import importlib
import json
import pathlib
import sys
import traceback


def main(file, results_path):
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    module = importlib.import_module(pathlib.Path(file).stem)
    results = {}
    for name, function in list(vars(module).items()):
        if not name.startswith("test_"):
            continue
        try:
            function()
            results[name] = None
        except Exception:
            results[name] = "seed {}\n{}".format(
                getattr(module, "SEED", "none"), traceback.format_exc()
            )
        with open(results_path, "w") as stream:
            json.dump(results, stream)


main(*sys.argv[1:])
