"""Memory that is fast to get: blobs of tens of megabytes come and go with every iteration.

The system hands out such blocks page by page, each zeroed on first touch, and takes them back when
they are freed; for GCNet S1R1 that costs as much time as the convolutions (docs/torchcaffe.md).
`use_large_pages` lets freed blocks stay with the process and asks for pages of 2 MB. Both concern
Linux with glibc; elsewhere nothing happens.
"""

import ctypes
import os

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def use_large_pages():
    """Call before PyTorch allocates for the first time; it reads the variable only once."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
