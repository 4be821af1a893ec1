"""Write a synthetic face database."""

import argparse

from data_prep import synthetic
from data_prep.arguments import at_least, size
from data_prep.synthetic.identity import CONDITIONS


def add_arguments(parser):
    """Add the arguments of `python -m data_prep synthesize` to an argparse parser."""
    commands = parser.add_subparsers(metavar="LAYOUT", required=True)
    for name in synthetic.LAYOUTS:
        layout = synthetic.load(name)
        command = commands.add_parser(
            name,
            help=layout.__doc__.splitlines()[0],
            description=layout.__doc__,
            epilog=f"example:\n  python -m data_prep synthesize {name} data/synthetic/{name}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("out", help="folder to write, new or empty")
        layout.add_arguments(command)
        command.add_argument(
            "--full", action="store_true", help="the real database's own numbers of everything"
        )
        command.add_argument(
            "--untidy", action="store_true", help="with the litter that real copies gather"
        )
        command.add_argument(
            "--people", type=at_least(1), metavar="N",
            help="draw only N different people; the next ones look like them",
        )  # fmt: skip
        command.add_argument(
            "--size", type=size, default=layout.SIZE, metavar="WxH",
            help="pixels of an image (%dx%d)" % layout.SIZE,
        )  # fmt: skip
        command.add_argument(
            "--conditions", choices=tuple(CONDITIONS), default=layout.CONDITIONS,
            help="how the pictures are taken: laboratory, near CK+'s; portrait, near JAFFE's, "
            "sharper; wild, any light and pose (%(default)s)",
        )  # fmt: skip
        command.add_argument(
            "--seed", type=at_least(0), default=0, metavar="N",
            help="same seed, same bytes (%(default)s)",
        )  # fmt: skip
        command.add_argument(
            "--workers", type=at_least(1), metavar="N", help="processes (default: one per CPU)"
        )
        command.set_defaults(layout=name, refuse=command.error)


def run(arguments):
    from data_prep.synthetic.writing import Camera

    options = dict(vars(arguments))
    out, layout = options.pop("out"), synthetic.load(options.pop("layout"))
    camera = Camera(
        size=options.pop("size"),
        colour=layout.COLOUR,
        conditions=options.pop("conditions"),
        seed=options.pop("seed"),
        people=options.pop("people"),
    )
    del options["run"], options["refuse"]
    images = layout.write(out, camera, **options)
    print(f"{out}: written, {images} images")
