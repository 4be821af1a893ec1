"""The frames of a sequence as rows of an index: neutral, without label, and the emotion's apex."""

from data_prep.arguments import at_least
from data_prep.index import Row
from gcnet_base.protocol import NEUTRAL

# The custom of the field (DE-GAN and IDFERM, to which the paper is compared: CK+'s and Oulu-CASIA's
# last three frames, MMI's three in the middle); the paper does not say how many frames of a
# sequence count as its peak.
APEX_FRAMES = 3


def add_argument(parser, frames="last frames of a sequence"):
    """Add --apex; `frames` says in --help which ones they are."""
    parser.add_argument(
        "--apex", dest="apex_frames", type=at_least(1), default=APEX_FRAMES, metavar="N",
        help=f"how many {frames} show the emotion (%(default)s)",
    )  # fmt: skip


def last(frames, number):
    """The `number` last numbers of `frames`, {number: file} in order."""
    return list(frames)[-number:]


def rows(frames, apex, emotion, subject, sequence, landmarks=None):
    """Yield a Row for each of `frames`, {number: file} in order.

    The first frame is neutral, even if it is one of `apex`, and the reference of all. Those whose
    numbers are in `apex` show the emotion, and the others have no label. `landmarks`: {number: five
    points} of the frames that have them.
    """
    neutral = next(iter(frames))
    for number, file in frames.items():
        label = emotion if number in apex else ""
        yield Row(
            image=str(file),
            subject=subject,
            sequence=sequence,
            frame=str(number),
            label=NEUTRAL if number == neutral else label,
            reference=str(frames[neutral]),
            landmarks=(landmarks or {}).get(number),
        )
