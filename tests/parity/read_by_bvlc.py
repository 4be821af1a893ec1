"""Messages as BVLC Caffe has read and upgraded them: `PREFIX/bin/python3 read_by_bvlc.py FILE...`.

pycaffe does not offer the reading, so its C++ functions are called as the library exports them.
FILE.read gets the message in binary; files called solver* hold a SolverParameter, *.caffemodel a
NetParameter in binary, all others one in text.
"""

import ctypes
import os
import sys

import caffe

LIBRARY = os.path.join(
    os.path.dirname(caffe.__file__), "..", "..", "..", "x86_64-linux-gnu", "libcaffe.so.1.0.0"
)
ENOUGH = 1 << 16
"""Bytes for a message object, whose real size only the compiler knows."""


class String(ctypes.Structure):
    """std::string of libstdc++ with its characters outside."""

    _fields_ = [(name, ctypes.c_size_t) for name in ("pointer", "size", "capacity", "unused")]


def read(library, path):
    solver = os.path.basename(path).startswith("solver")
    kind = "SolverParameter" if solver else "NetParameter"
    reader = (
        "ReadSolverParamsFromTextFileOrDie"
        if solver
        else "ReadNetParamsFromBinaryFileOrDie"
        if path.endswith(".caffemodel")
        else "ReadNetParamsFromTextFileOrDie"
    )
    mangled = "{}{}".format(len(kind), kind)
    message = ctypes.create_string_buffer(ENOUGH)
    constructor = "_ZN5caffe{}C1EPN6google8protobuf5ArenaE".format(mangled)
    getattr(library, constructor)(ctypes.byref(message), None)
    characters = ctypes.create_string_buffer(path.encode())
    text = String(ctypes.addressof(characters), len(path.encode()), len(path.encode()), 0)
    function = "_ZN5caffe{}{}ERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEPNS_{}E"
    getattr(library, function.format(len(reader), reader, mangled))(
        ctypes.byref(text), ctypes.byref(message)
    )
    write = "_ZN5caffe22WriteProtoToBinaryFileERKN6google8protobuf7MessageEPKc"
    getattr(library, write)(ctypes.byref(message), (path + ".read").encode())


for file in sys.argv[1:]:
    read(ctypes.CDLL(LIBRARY), file)
