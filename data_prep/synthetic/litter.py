"""What copies of a database gather on people's disks, and readers must walk past."""

import os

_MACOS = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "


def scatter(root):
    """Put litter into the database at `root`: hidden files, thumbnails, upper-case suffixes.

    Every folder gets a .DS_Store and a Thumbs.db; a file of each folder a "._" twin, as macOS
    leaves on foreign disks; a __MACOSX folder lies at the top, as in archives made there; and the
    last image of each folder gets its suffix in upper case.
    """
    for folder, folders, files in list(os.walk(root)):
        folders.sort()
        for name in (".DS_Store", "Thumbs.db"):
            with open(os.path.join(folder, name), "wb") as file:
                file.write(_MACOS)
        for name in sorted(files)[:1]:
            with open(os.path.join(folder, f"._{name}"), "wb") as file:
                file.write(_MACOS)
        images = [name for name in files if name.endswith((".png", ".jpg", ".jpeg", ".bmp"))]
        for name in sorted(images)[-1:]:
            stem, suffix = os.path.splitext(name)
            os.rename(os.path.join(folder, name), os.path.join(folder, stem + suffix.upper()))
    os.mkdir(os.path.join(root, "__MACOSX"))
    with open(os.path.join(root, "__MACOSX", "._images"), "wb") as file:
        file.write(_MACOS)
