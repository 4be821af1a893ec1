"""What copies of a database gather on people's disks, and readers must walk past."""

import os

_MACOS = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "


def scatter(root):
    """Put litter into the database at `root`: hidden files, thumbnails, upper-case suffixes.

    Every folder gets a .DS_Store and a Thumbs.db; a file of each folder a "._" twin, as macOS
    leaves on foreign disks; a __MACOSX folder and a "Read me.txt" lie at the top, as in archives;
    and the last file of each kind in a folder gets its suffix in upper case.
    """
    for folder, folders, files in list(os.walk(root)):
        folders.sort()
        for name in (".DS_Store", "Thumbs.db"):
            with open(os.path.join(folder, name), "wb") as file:
                file.write(_MACOS)
        for name in sorted(files)[:1]:
            with open(os.path.join(folder, f"._{name}"), "wb") as file:
                file.write(_MACOS)
        last = {os.path.splitext(name)[1]: name for name in sorted(files)}
        for suffix, name in last.items():
            upper = name.removesuffix(suffix) + suffix.upper()
            os.rename(os.path.join(folder, name), os.path.join(folder, upper))
    with open(os.path.join(root, "Read me.txt"), "w") as file:
        file.write("Unpacked from the archives.\n")
    os.mkdir(os.path.join(root, "__MACOSX"))
    with open(os.path.join(root, "__MACOSX", "._images"), "wb") as file:
        file.write(_MACOS)


def name_as_copy(path):
    """Rename a file or folder to what file managers call a copy: "anna_happy_1 copy.jpg"."""
    path.rename(path.with_name(f"{path.stem} copy{path.suffix}"))
