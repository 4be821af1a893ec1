"""Run a program that was written for pycaffe: `python -m torchcaffe script.py [arguments]`."""

import os
import runpy
import sys
import types
import zipfile

from torchcaffe import as_caffe, memory

HELP = """\
usage: python -m torchcaffe script.py [arguments]
       python -m torchcaffe -m module [arguments]
       python -m torchcaffe -c code [arguments]

Runs a Python program that was written for pycaffe, unchanged: `import caffe` gives torchcaffe.
The arguments are the program's own.

example: python -m torchcaffe -c "import caffe; print(caffe.layer_type_list())"
"""


def main(arguments):
    """Run what the arguments say, as `python` would. Returns the exit status of a wrong call."""
    if not arguments or arguments[0] in ("-h", "--help"):
        (sys.stdout if arguments else sys.stderr).write(HELP)
        return 0 if arguments else 2
    first, *rest = arguments
    if first in ("-m", "-c") and not rest:
        print(f"torchcaffe: {first} needs an argument; see python -m torchcaffe --help",
              file=sys.stderr)  # fmt: skip
        return 2
    if first.startswith("-") and first not in ("-m", "-c"):
        print(f"torchcaffe: no option {first}; see python -m torchcaffe --help", file=sys.stderr)
        return 2
    as_caffe.install()
    memory.keep_freed_blocks()
    if first == "-m":
        sys.path[0] = os.getcwd()
        sys.argv = [first, *rest[1:]]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.path[0] = ""
        sys.argv = ["-c", *rest[1:]]
        _run(rest[0], "<string>")
    elif os.path.isdir(first) or zipfile.is_zipfile(first):
        sys.argv = arguments
        runpy.run_path(first, run_name="__main__")
    else:
        try:
            with open(first, "rb") as file:
                code = file.read()
        except OSError as error:
            print(f"torchcaffe: cannot read {first}: {error.strerror}", file=sys.stderr)
            return 2
        sys.path[0] = os.path.dirname(os.path.realpath(first))
        sys.argv = arguments
        _run(code, first)
    return 0


def _run(code, path):
    """Execute code as the module __main__."""
    module = types.ModuleType("__main__")
    if path != "<string>":
        module.__file__ = path
    module.__builtins__ = __builtins__
    sys.modules["__main__"] = module
    exec(compile(code, path, "exec"), module.__dict__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
