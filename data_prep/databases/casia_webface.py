"""CASIA-WebFace: photographs of actors from the web, by identity; only for pre-training.

Layout, a folder per identity (numbers with gaps, seven digits), JPEG files of 250x250 pixels with
the face near the centre, numbered anew in each folder:

    CASIA-WebFace/
      0000045/001.jpg 002.jpg ...
      0000099/001.jpg ...

There are no labels but the identity and no landmarks. The authors count 494,414 images of 10,575
subjects, collected from film pages semi-automatically: some images show somebody else or nobody,
and some people have two folders. The paper pre-trains on it: the encoder and decoder by
reconstruction, the CNN by identification. Its images carry no expression label here, so that no
command trains or tests expressions on them.

The database was given for non-commercial research on an application (a signed licence agreement,
by e-mail from an institution) by the Center for Biometrics and Security Research, Chinese Academy
of Sciences; its page has not been reachable for years. Copies that circulate are often aligned
and cropped versions (112x112) or hold fewer identities: the counts below tell.

Yi, Lei, Liao, Li: Learning Face Representation from Scratch, arXiv:1411.7923, 2014 (the counts).
The folder layout is as the list files and readers of public face recognition code have it, for
example deepinsight/insightface's train.lst (.../CASIA-WebFace/0000045/001.jpg).
"""

from data_prep.arguments import at_least
from data_prep.databases import IDENTITIES
from data_prep.index import Row
from data_prep.summary import Counts
from data_prep.tree import IMAGE
from gcnet_base.errors import InputError

SPLIT, CLASSES = IDENTITIES, None

ALL_IMAGES, ALL_IDENTITIES = 494_414, 10_575


def add_arguments(parser):
    parser.add_argument(
        "--least", type=at_least(1), default=1, metavar="N",
        help="leave out identities with fewer than N images (%(default)s)",
    )  # fmt: skip


def counts(**_):
    return Counts("images", total=ALL_IMAGES, subjects=ALL_IDENTITIES, source="authors")


def rows(tree, images_folder, least):
    """Rows of all images, without label and reference. Skipped is a file that links elsewhere."""
    table, identities, images, rare = [], 0, 0, 0
    for identity in tree.folders(tree.root):
        files = tree.files(identity, rf".+\.{IMAGE}")
        if not files:
            continue
        identities += 1
        images += len(files)
        if len(files) < least:
            rare += 1
        else:
            table += [Row(image=str(file), subject=identity.name) for file, _ in files]
    if not images:
        raise InputError(
            f"{tree.root}: no identity's folder with images, like 0000045/001.jpg; give the folder "
            "that holds the folders of the identities"
        )
    tree.expect(tree.root.name, identities, ALL_IDENTITIES, "identities")
    tree.expect(tree.root.name, images, ALL_IMAGES, "images")
    if rare:
        tree.lacking.append(f"{rare} identities have fewer than {least} images; left out")
    return table
