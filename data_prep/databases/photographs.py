"""Your own pictures: a folder of photographs whose names say who they show, and with what label.

A picture in the folder itself, subject_label*.jpg:

    photographs/
      anna_neutral.jpg
      anna_happiness_02.jpg      or anna_happy2.JPG
      Jörg Peter_surprised.png
      anna_holiday.jpg           no label

* The subject is all before the first "_" (the whole name, without suffix, if there is none).
* The label is the word of letters right after that "_", in whatever case, if it is one of
  anger, angry; contempt, contemptuous; disgust, disgusted; fear, fearful, afraid, scared;
  happiness, happy; neutral; sadness, sad; surprise, surprised. What follows the word is free.
* A picture with another word or none is listed without label: it is aligned, and no more.

A picture in a folder named by one of these words has that label, whatever else its name says:

    photographs/
      happiness/anna_1.jpg       subject anna, as above: all before the first "_"
      Neutral/anna.jpg

Both may be mixed. Folders inside those are not looked into, and folders of other names are skipped.
Upper and lower case tell subjects apart; spaces and letters of any language are fine. Suffixes:
jpg, jpeg, png, bmp, tif, tiff, in whatever case; pictures in other formats (heic, webp, gif ...)
are skipped.

The subject's neutral picture, the first one by name if there are several, becomes the reference of
all the subject's pictures. The classes are all eight.

Take only pictures whose people agree.
"""

import unicodedata

from data_prep.databases import TEST_ONLY
from data_prep.index import Row
from data_prep.summary import Counts
from data_prep.tree import IMAGE
from gcnet_base.errors import InputError
from gcnet_base.protocol import EXPRESSIONS, NEUTRAL

SPLIT, CLASSES = TEST_ONLY, "8"

WORDS = {name: name for name in (*EXPRESSIONS, NEUTRAL)} | {
    "angry": "anger",
    "contemptuous": "contempt",
    "disgusted": "disgust",
    "fearful": "fear",
    "afraid": "fear",
    "scared": "fear",
    "happy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
}

_OTHER_IMAGE = r"heic|heif|avif|webp|gif|jp2|cr2|nef|arw|dng"
_NAME = rf"(?P<subject>[^_]*)(?:_(?P<word>[^\W\d_]*).*)?\.(?:{IMAGE}|(?P<other>{_OTHER_IMAGE}))"


def add_arguments(parser):
    pass


def counts():
    return Counts("images")


def rows(tree, images_folder):
    """Rows of all pictures, those of the folder itself first, then those of the class folders.

    Skipped are folders whose names are no label, pictures in other formats and names that start
    with "_". Raises InputError if there is no picture.
    """
    table = list(_pictures(tree, tree.root, None))
    for folder in tree.folders(tree.root):
        label = WORDS.get(folder.name.strip().lower())
        if label:
            table += _pictures(tree, folder, label)
        else:
            tree.skip(folder, f"its name is no label; use {', '.join(WORDS)}, or move it away")
    if not table:
        why = f" ({len(tree.skipped)} files skipped, --strict says why)" if tree.skipped else ""
        raise InputError(
            f"{tree.root}: no picture that can be used; give a folder with names like "
            f"anna_happiness_02.jpg, or with folders like happiness{why}"
        )
    neutral = {}
    for row in table:
        if row.label == NEUTRAL:
            neutral.setdefault(row.subject, row.image)
    return [
        Row(row.image, row.subject, label=row.label, reference=neutral.get(row.subject, ""))
        for row in table
    ]


def _pictures(tree, folder, label):
    """Rows of the pictures in a folder; `label` None: their names tell it."""
    for file, match in tree.files(folder, _NAME):
        # The same name from two kinds of computers: "e" with an accent is one letter or two.
        subject = unicodedata.normalize("NFC", match["subject"]).strip()
        if match["other"]:
            tree.skip(file, f"{match['other']} files are not read; save it as JPEG or PNG")
        elif not subject:
            tree.skip(file, "no subject before the first '_'; rename it to subject_label.jpg")
        else:
            word = WORDS.get((match["word"] or "").lower(), "")
            yield Row(str(file), subject, label=label or word)
