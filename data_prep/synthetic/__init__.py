"""Synthetic face databases, written in the layouts of the real ones."""

from data_prep.synthetic.ckplus import write_ckplus


def add_arguments(parser):
    """Add the arguments of `python -m data_prep synthesize` to an argparse parser."""
    parser.add_argument("layout", choices=["ckplus"], help="database whose layout to write")
    parser.add_argument("out", help="folder to write, new or empty")
    parser.add_argument("--subjects", type=int, default=20, metavar="N",
                        help="people (default: %(default)s)")
    parser.add_argument("--sequences", type=int, default=4, metavar="N",
                        help="sequences per subject (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=11, metavar="N",
                        help="mean images per sequence, neutral to apex (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="same seed, same bytes (default: %(default)s)")
    parser.add_argument("--landmarks", action="store_true",
                        help="also write the 68 landmarks of each image")
    parser.add_argument("--studio", action="store_true",
                        help="even light, frontal heads, strong expressions: easier to learn")
    parser.add_argument("--colour", action="store_true", help="BGR instead of gray images")
    parser.add_argument("--workers", type=int, default=None, metavar="N",
                        help="processes (default: one per core)")


def run(arguments):
    """Write the database that parsed `arguments` of `add_arguments` describe. Raises InputError."""
    images = write_ckplus(
        arguments.out, subjects=arguments.subjects, sequences_per_subject=arguments.sequences,
        frames=arguments.frames, seed=arguments.seed, landmarks=arguments.landmarks,
        colour=arguments.colour, studio=arguments.studio, workers=arguments.workers)
    print(f"{images} images of {arguments.subjects} subjects written to {arguments.out}")
