"""Names of files for faces and drawings, which mean the same on every system."""

import functools
import re

_STRANGE = re.compile(r"[^\w.-]|^\.", flags=re.ASCII)


def distinct(names):
    """Yield the names; one that was there before, in any case, with -2, -3 ... added."""
    taken = set()
    numbers = {}
    for wanted in names:
        name = wanted
        number = numbers.get(wanted.lower(), 1)
        while name.lower() in taken:
            number += 1
            name = f"{wanted}-{number}"
        numbers[wanted.lower()] = number
        taken.add(name.lower())
        yield name


@functools.lru_cache(1024)
def plain(name):
    """`name` as a file name that means the same everywhere, without spaces or leading dots."""
    # A file's name has 255 bytes at most, also the temporary one.
    return _STRANGE.sub("_", name)[:200]
