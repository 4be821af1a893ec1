"""Build the train and test LMDB of a fold, or of identities."""

from data_prep.arguments import at_least
from data_prep.lmdbs import contents
from data_prep.lmdbs.build import (
    COPIES,
    HOLD_OUT,
    IDENTITY_COPIES,
    LEAST,
    build,
    build_identities,
)
from gcnet_base.protocol import CLASSES, FOLDS


def add_arguments(parser):
    parser.add_argument("index", help="index.csv that align wrote")
    parser.add_argument("-o", "--output", required=True, help="folder for train/ and test/")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--fold", type=int, choices=range(FOLDS), help="the fold whose subjects are the test set"
    )
    which.add_argument(
        "--test-only", action="store_true", help="no training: every image goes into test/"
    )
    which.add_argument(
        "--identities",
        action="store_true",
        help="for pre-training: single faces, every subject a class, images of each in test/",
    )
    parser.add_argument("--classes", choices=CLASSES, help="of a fold or --test-only")
    parser.add_argument(
        "--hold-out",
        type=at_least(1),
        metavar="N",
        help=f"images of each identity that go into test/ ({HOLD_OUT})",
    )
    parser.add_argument(
        "--least",
        type=at_least(1),
        metavar="N",
        help=f"leave out identities with fewer images ({LEAST})",
    )
    parser.add_argument(
        "--copies",
        type=at_least(0),
        metavar="N",
        help=f"augmented copies of each face ({COPIES}; of identities {IDENTITY_COPIES})",
    )
    parser.add_argument(
        "--seed", type=at_least(0), default=0, help="of shuffling and augmentation (%(default)s)"
    )
    parser.add_argument(
        "--workers", type=at_least(1), metavar="N", help="processes (default: one per CPU)"
    )


def run(arguments):
    build_kind = _run_identities if arguments.identities else _run_fold
    description, built = build_kind(arguments)
    print(f"{arguments.output}: " + ("written" if built else "already built from the same inputs"))


def _run_fold(arguments):
    for option, value in (("--hold-out", arguments.hold_out), ("--least", arguments.least)):
        if value is not None:
            arguments.refuse(f"{option} is for --identities only")
    if arguments.classes is None:
        arguments.refuse(f"give --classes: {', '.join(CLASSES)}")
    description, built = build(
        arguments.index,
        arguments.output,
        None if arguments.test_only else arguments.fold,
        arguments.classes,
        COPIES if arguments.copies is None else arguments.copies,
        arguments.seed,
        arguments.workers,
    )
    for part in contents.parts_of(description):
        counts = description[part]
        samples_of = ", ".join(f"{name} {count}" for name, count in counts["samples"].items())
        subjects = len(counts["subjects"])
        print(f"{part}: {counts['records']} pairs of {subjects} subjects ({samples_of})")
    return description, built


def _run_identities(arguments):
    if arguments.classes is not None:
        arguments.refuse("--classes is not for --identities, where every subject is a class")
    hold_out = HOLD_OUT if arguments.hold_out is None else arguments.hold_out
    description, built = build_identities(
        arguments.index,
        arguments.output,
        hold_out,
        LEAST if arguments.least is None else arguments.least,
        IDENTITY_COPIES if arguments.copies is None else arguments.copies,
        arguments.seed,
        arguments.workers,
    )
    for part in contents.parts_of(description):
        identities = len(description["class_names"])
        print(f"{part}: {description[part]['records']} faces of {identities} identities")
    left_out = description["left_out"]
    if left_out:
        least = description["inputs"]["least"]
        print(
            f"left out: {len(left_out)} identities with fewer than {least} images, "
            f"{sum(left_out.values())} images"
        )
    return description, built
