"""The folder of a face database as its reader walks it: in order, without litter, within its root.

Real copies of a database hold more than the database: .DS_Store, Thumbs.db, "._" twins of every
file, upper-case suffixes, links that lead elsewhere or in circles, names that are not UTF-8.
"""

import os
import re
from pathlib import Path

from gcnet_base.errors import InputError

_LITTER = re.compile(r"\..*|Thumbs\.db|ehthumbs\.db|desktop\.ini|__MACOSX|@eaDir", re.IGNORECASE)

IMAGE = r"(?:jpe?g|png|bmp|tiff?)"
"""Suffixes of image files, as part of a pattern that is matched whatever the case."""


class Tree:
    """A database's folder `root`. What cannot be used is listed in `skipped`, or stops if `strict`.

    `skipped`: [(path, problem)] in the order they were found. `lacking`: sentences on what should
    be there and is not. `root` is absolute. Raises InputError if it is no folder.
    """

    def __init__(self, root, strict=False):
        self.root = Path(root).absolute()
        self.strict = strict
        self.skipped = []
        self._listed = set()
        self.lacking = []
        if not self.root.is_dir():
            raise InputError(f"{root}: no such folder; give the one that holds the database")
        if readable(self.root) != str(self.root):
            raise InputError(f"{readable(root)}: its path is not UTF-8; rename its folders")
        self._real_root = self.root.resolve()

    def skip(self, path, problem):
        """Leave `path` out because of `problem`; InputError of both if the tree is strict.

        `problem` ends with the remedy: "emotion code '9'; expected 0 to 7, restore the file".
        """
        if self.strict:
            raise InputError(f"{readable(path)}: {problem}")
        if (readable(path), problem) not in self._listed:
            self._listed.add((readable(path), problem))
            self.skipped.append((readable(path), problem))

    def folder(self, name, remedy):
        """Path of the folder `name` in the root; InputError with the remedy if it is not there.

        Upper and lower case are one: real copies have been through other file systems.
        """
        place = self.find(self.root, name)
        if place is None or not place.is_dir():
            raise InputError(f"{self.root}: no folder {name}; {remedy}")
        return place

    def find(self, path, name):
        """The entry `name` of the folder `path` in whatever case, or None. `name` may have "/"."""
        for part in Path(name).parts:
            exact = path / part
            if os.path.lexists(exact):
                path = exact if self._usable(exact, exact.is_symlink()) else None
            else:
                same = (p for p, _ in self._entries(path) if p.name.lower() == part.lower())
                path = next(same, None)
            if path is None:
                return None
        return path

    def folders(self, path):
        """Folders in the folder `path`, in order of name."""
        return [entry for entry, is_folder in self._entries(path) if is_folder]

    def files(self, path, pattern):
        """[(file, match)] of the files in the folder `path` whose whole names match `pattern`.

        In order of name; upper and lower case are one. A folder that is not there has no files.
        """
        pattern = re.compile(pattern, re.IGNORECASE)
        files = (entry for entry, is_folder in self._entries(path) if not is_folder)
        found = ((file, pattern.fullmatch(file.name)) for file in files)
        return [(file, match) for file, match in found if match]

    def text(self, file):
        """What a text file holds, without the mark that Windows puts before UTF-8, or None.

        A file that cannot be read is skipped.
        """
        try:
            return file.read_text(encoding="utf-8-sig", errors="replace")
        except OSError as error:
            self.skip(file, f"cannot be read ({error.strerror}); mend its permissions")
            return None

    def file(self, text):
        """The file that a list of the database names as `text`, below the root, or None.

        A path that leaves the root and a file that is not there are skipped.
        """
        file = Path(os.path.normpath(self.root / text))
        if not file.is_relative_to(self.root):
            self.skip(file, "leads out of the database's folder; correct the entry")
        elif not file.is_file():
            self.skip(file, "no such file; unpack the archive that holds it, or drop the entry")
        elif self._usable(file, is_link=True):  # a folder on the way may be one
            return file
        return None

    def expect(self, where, found, expected, what):
        """Note in `lacking` that `where` has `found` of `what` when `expected` belong there."""
        if found != expected:
            self.lacking.append(f"{where} has {found} {what}; expected {expected}")

    def _entries(self, path):
        """[(entry, whether it is a folder)] of the folder `path` in order of name."""
        try:
            with os.scandir(path) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except FileNotFoundError:
            return []
        except OSError as error:
            self.skip(path, f"cannot be listed ({error.strerror}); mend its permissions")
            return []
        return [
            (Path(entry.path), entry.is_dir())
            for entry in entries
            if not _LITTER.fullmatch(entry.name)
            and self._usable(Path(entry.path), entry.is_symlink())
        ]

    def _usable(self, entry, is_link):
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            self.skip(entry, "its name is not UTF-8; rename it")
            return False
        if not is_link:
            return True
        try:
            target = entry.resolve(strict=True)
        except (OSError, RuntimeError):
            self.skip(entry, "a symbolic link to nothing or to itself; remove it")
            return False
        if not target.is_relative_to(self._real_root):
            self.skip(entry, "a symbolic link out of the database's folder; copy its target there")
        elif entry.parent.resolve().is_relative_to(target):
            self.skip(entry, "a symbolic link to a folder above itself; remove it")
        else:
            return True
        return False


def readable(path):
    """A path as text that every terminal and CSV file can show: strange bytes as \\xNN."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")
