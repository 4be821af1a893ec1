"""Run a script that was written for pycaffe: `python -m torchcaffe script.py [arguments]`."""

import runpy
import sys

from torchcaffe import pycaffe

sys.modules["caffe"] = pycaffe
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
