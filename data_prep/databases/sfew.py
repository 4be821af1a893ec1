"""SFEW 2.0 (Static Facial Expressions in the Wild): frames of films, one label each.

Layout, after unpacking the archives (which may hold one archive per class) side by side:

    SFEW_2/
      Train/Angry/Airheads_000519240_00000005.png     film, start of the clip, frame; also
      Train/Disgust/ Fear/ Happy/ Neutral/ Sad/ Surprise/
      Val/Angry/ ... Surprise/
      Test/                                           no labels, not read
      Train/Train_Aligned_Faces/Angry/ ...            faces cut out by the authors, 143x181
      Val/Val_Aligned_Faces_new/Val_Aligned_Faces/Angry/ ...

Copies differ in where these folders lie: Val/Val, Train_SFEW_2_0, and the aligned folders beside
Val or with and without "_new" are found as well. Folder names are the labels, in whatever case. The
database has no landmarks.

Images, of the EmotiW 2015 challenge (all), and of its archives of aligned faces, which lack those
where no face was found:

    split          anger  disgust  fear  happiness  neutral  sadness  surprise   all
    Train            178       66    98        198      150      172        96   958
    Val               77       23    47         73       86       73        57   436
    Test                                                                         372
    Train aligned    178       52    78        184      144      161        94   891
    Val aligned       77       23    46         72       84       73        56   431

The paper tests on the validation set ("AEFW/SEFW: validation set", Table VI), which --split val
takes; the labels of Test are not public. Whether it took original frames or aligned faces is open:
--images original gives all 436 and lets align cut all databases alike.

The people in the films are not named. The film is the subject in the index: frames of one film
show the same few actors, so that folds by subject, if somebody makes them, keep most people apart
(some act in several films). No image has a reference, because that takes a neutral frame of the
same person. Every image is a sequence of its own, because labels change within a clip. Some frames
of Train have lost their names (Disgust/1.png); their subject is "unnamed". A frame can be in two
classes (in Val, 21_001703120_00000012.png in Happy and Surprise); it is kept in both, as the counts
do.

How to apply: SFEW was given to the challenge's participants, and is to researchers, on a signed
licence by its authors (A. Dhall and others, Australian National University;
https://cs.anu.edu.au/few/AFEW.html and emotiw2015.html). The licence's wording was not at hand
when this was written; take it that it allows research only, and that frames, and so faces and LMDBs
made of them, must not be passed on: the films are their studios'.

Sources: Dhall, Ramana Murthy, Goecke, Joshi, Gedeon: Video and image based emotion recognition
challenges in the wild: EmotiW 2015, ICMI 2015 (958, 436 and 372 images). Names of files, the frame
in two classes and numbers per class: lists of files in anders0821/SFEW-BNN, which also keeps films
apart (Train's anger, happiness and neutral and Val's neutral could not be counted there; they are
confirmed by the totals alone). Aligned faces: issue 18 of SimKarras/Amend-Representation-Module
(891 and 431), and a public loader whose numbers per class add up to these. Places of the folders:
several public loaders.
"""

import re

from data_prep.databases import TEST_ONLY
from data_prep.index import Row
from data_prep.summary import Counts
from data_prep.tree import IMAGE
from gcnet_base.errors import InputError

SPLIT, CLASSES = TEST_ONLY, "6+neutral"

CLASS_FOLDERS = {
    "Angry": "anger",
    "Disgust": "disgust",
    "Fear": "fear",
    "Happy": "happiness",
    "Neutral": "neutral",
    "Sad": "sadness",
    "Surprise": "surprise",
}
COUNTS = {
    (images, split): dict(zip(CLASS_FOLDERS.values(), numbers, strict=True))
    for images, split, numbers in (
        ("original", "train", (178, 66, 98, 198, 150, 172, 96)),
        ("original", "val", (77, 23, 47, 73, 86, 73, 57)),
        ("aligned", "train", (178, 52, 78, 184, 144, 161, 94)),
        ("aligned", "val", (77, 23, 46, 72, 84, 73, 56)),
    )
}
TEST_IMAGES = 372
UNNAMED = "unnamed"

_PLACES = {
    "original": ("{0}", "{0}/{0}", "{0}_SFEW_2_0"),
    "aligned": (
        "{0}/{0}_Aligned_Faces_new/{0}_Aligned_Faces",
        "{0}/{0}_Aligned_Faces_new",
        "{0}/{0}_Aligned_Faces",
        "{0}_Aligned_Faces_new/{0}_Aligned_Faces",
        "{0}_Aligned_Faces_new",
        "{0}_Aligned_Faces",
    ),
}
_LABELS = {folder.lower(): label for folder, label in CLASS_FOLDERS.items()}
# OceansThirteen-010619400_00000087 and IAmSam_013827920__00000055 are there, too.
_NAME = re.compile(r"(?P<film>.+?)[-_]+\d{9}[-_]+\d{8}")


def add_arguments(parser):
    parser.add_argument(
        "--split", choices=("train", "val"), default="val", help="which images (%(default)s)"
    )
    parser.add_argument(
        "--images",
        dest="kind",
        choices=tuple(_PLACES),
        default="original",
        help="whole frames, or the faces that the authors cut out (%(default)s)",
    )


def counts(kind, split):
    return Counts("images", COUNTS[kind, split], source="SFEW 2.0")


def rows(tree, images_folder, kind, split):
    """Rows of the images of `split`, without reference.

    Skipped is a folder of images that is none of the seven classes.
    """
    place = _class_folders(tree, kind, split)
    pattern = rf"(?P<stem>.+)\.{IMAGE}"
    table, found = [], dict.fromkeys(CLASS_FOLDERS.values(), 0)
    for folder in tree.folders(place):
        files = tree.files(folder, pattern)
        label = _LABELS.get(folder.name.lower())
        if label is None:
            if files:
                tree.skip(folder, f"no class; expected {', '.join(CLASS_FOLDERS)}, rename it")
            continue
        found[label] += len(files)
        for file, match in files:
            name = _NAME.fullmatch(match["stem"])
            table.append(Row(str(file), name["film"] if name else UNNAMED, label=label))
    expected = COUNTS[kind, split]
    for name, label in CLASS_FOLDERS.items():
        where = place.relative_to(tree.root) / name
        tree.expect(where, found[label], expected[label], "images")
    return table


def _class_folders(tree, kind, split):
    part = split.capitalize()
    for place in _PLACES[kind]:
        folder = tree.find(tree.root, place.format(part))
        if folder and any(one.name.lower() in _LABELS for one in tree.folders(folder)):
            return folder
    archive = f"{part}_Aligned_Faces" if kind == "aligned" else part
    other = "original" if kind == "aligned" else "aligned"
    raise InputError(
        f"{tree.root}: no folder {archive} with the classes {', '.join(CLASS_FOLDERS)} in it; "
        f"unpack the archive {archive} of SFEW 2.0 and those in it there, or try --images {other}"
    )
