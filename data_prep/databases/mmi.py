"""MMI: videos of posed expressions, from neutral over the apex in the middle back to neutral.

Layout, a folder per session, with one video:

    MMI/
      Sessions/1767/session.xml        <track view="0" ...>: 0 frontal, 1 profile, 2 dual view
      Sessions/1767/S028-001.avi       subject and number of the recording
      Sessions/1767/S028-001.xml       <Metatag Name="Emotion" Value="1" ...>
      Sessions/1767/S028-001-oao_aucs.xml                       action units, not used

Sessions are downloaded in selections; put the session folders of all of them into one Sessions.

Emotion codes: 1 anger, 2 disgust, 3 fear, 4 happiness, 5 sadness, 6 surprise. Up to 9 other states
are coded, whose names could not be confirmed; a session of one of them, without a code or with 0
(single action units) is not of the six and left out. So are still images, and profile views. A
frontal video of 5:4 (720x576, PAL) was taken by a camera on its side and is turned clockwise here;
those of 4:3 (640x480) are upright.

The frames that the index needs are written as gray PNG files into the output folder: at 720x576
about 0.2 MB each, so 0.15 GB for 205 sequences with three apex frames, and some 2 GB with --every 2
if a sequence has a hundred frames. A frame that is there from an earlier run is kept.

Labels in the index: the first frame is neutral and the reference of its sequence, the --apex
frames around the middle carry the emotion. With --peaks they are those around the frame that the
file names (see `python -m data_prep peaks`).

The paper counts 312 sequences of 30 subjects with one of the six expressions and uses the 205
"captured in a front view"; how many there are of each class it does not say. Others speak of 208
frontal sequences of 31 subjects (DE-GAN, IDFERM). In public lists of the labelled sessions only
some 24 subjects are in frontal ones (view 0), and six of the others (S001, S002, S003, S005, S015,
S016) in dual ones, whose frames show a frontal and a profile view side by side. So the published
counts seem to include the frontal halves of those: --dual takes them too.

MMI is given to researchers on a signed licence agreement (mmifacedb.eu), for academic use only;
it must not be passed on, and neither must LMDBs made of it.

Pantic, Valstar, Rademaker, Maat: Web-based database for facial expression analysis, ICME 2005.
Valstar, Pantic: Induced disgust, happiness and surprise: an addition to the MMI facial expression
database, LREC Workshop on Emotion 2010. The files, codes, views and the turned videos are as public
code has them: SyskenGL/cv-project (scripts/mmi-extractor.py) and ShunyuYao/sketch_RL
(util/vid2pic.py, util/litUse/parse_xml.py); the frontal halves and the code 9 as a preprocess_mmi
script beside preprocess_bp4d has them (S001 on the right also in a notebook on MMI's apex frames).
720x576, frontal, profile and dual views: the database's fact sheet at emotion-research.net.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import cv2
from tqdm import tqdm

from data_prep import apex, peaks
from data_prep.arguments import at_least
from data_prep.databases import FOLDS
from data_prep.faces.decode import quiet
from data_prep.summary import Counts
from gcnet_base.atomic import replacing
from gcnet_base.errors import InputError

SPLIT, CLASSES = FOLDS, "6"

SESSIONS = "Sessions"
FRONTAL, PROFILE, DUAL = "0", "1", "2"
CODES = {1: "anger", 2: "disgust", 3: "fear", 4: "happiness", 5: "sadness", 6: "surprise"}
HIGHEST_CODE = 9

SEQUENCES, FRONTAL_SEQUENCES, SUBJECTS = 312, 205, 30

#: Which half of a dual view shows the frontal face.
FRONTAL_HALF = {
    "S001": "right", "S002": "right", "S003": "left", "S005": "left", "S015": "left", "S016": "left"
}  # fmt: skip

# The header's number of frames may be a frame or two off; a broken-off download lacks more.
LEAST_SHARE = 0.9

_VIDEO = r"(?P<sequence>(?P<subject>S\d+)-\d+)\.avi"
_STILL = r".+\.(?:jpe?g|png)"


@dataclass(frozen=True)
class _Sequence:
    name: str
    subject: str
    label: str
    view: str
    video: Path


def add_arguments(parser):
    apex.add_argument(parser, "frames around the peak")
    parser.add_argument(
        "--peaks", dest="peaks_file", type=Path, metavar="CSV",
        help="columns sequence,frame: the peaks of these sequences, instead of their middles",
    )  # fmt: skip
    parser.add_argument(
        "--every", type=at_least(1), metavar="N",
        help="also write each N-th frame, without label (for `peaks` and pictures of sequences)",
    )  # fmt: skip
    parser.add_argument(
        "--dual", action="store_true", help="also take the frontal halves of dual views"
    )


def counts(**_):
    return Counts("sequences", total=FRONTAL_SEQUENCES, subjects=SUBJECTS)


def rows(tree, images_folder, apex_frames, peaks_file, every, dual):
    """Rows of the frames that are written into `images_folder`.

    Skipped are sessions whose XML files or videos are missing, damaged or say something that the
    docstring above does not know, and videos that break off. Frames of videos before an unusable
    one stay in the output folder, for the next run. Raises InputError for a `--peaks` file that is
    wrong or names a frame that its video does not have.
    """
    chosen = peaks.read(peaks_file) if peaks_file else {}
    sequences = _sequences(tree, dual)
    if peaks_file:
        _compare(tree, peaks_file, chosen, sequences)
    for unfinished in images_folder.glob("*/.*.partial"):
        unfinished.unlink()
    table = []
    with tqdm(sequences, desc="mmi", unit="video", leave=False, disable=None) as progress:
        for sequence in progress:
            folder = images_folder / sequence.name
            last = _count(tree, sequence, folder)
            if last is None:
                continue
            peak = _peak(sequence, chosen, peaks_file, last)
            emotional = _window(peak, apex_frames, last)
            between = range(1, last + 1, every) if every else ()
            wanted = {
                number: (folder / f"{sequence.name}_{number:05d}.png").absolute()
                for number in sorted({1, *emotional, *between})
            }
            _write_frames(sequence, wanted)
            table += apex.rows(wanted, emotional, sequence.label, sequence.subject, sequence.name)
    return table


def _sequences(tree, dual):
    """The usable _Sequence list; those left out are counted in `tree.lacking`."""
    folder = tree.find(tree.root, SESSIONS) or tree.root
    found, left_out, of_six, names = [], Counter(), 0, {}
    for session in tree.folders(folder):
        videos = tree.files(session, _VIDEO)
        if not videos and tree.files(session, _STILL):
            left_out["with still images"] += 1
        elif not videos and tree.files(session, r".+\.xml"):
            tree.skip(session, "has no video like S028-001.avi; download the session again")
        for video, match in videos:
            name = match["sequence"].upper()
            if name in names:
                tree.skip(video, f"is also in session {names[name]}; leave the right one")
                continue
            names[name] = session.name
            view = _view(tree, session)
            code = view and _emotion(tree, session, match["sequence"])
            if code is None:
                continue
            of_six += code in CODES
            subject = match["subject"].upper()
            if code not in CODES:
                left_out["of none of the six emotions"] += 1
            elif view == PROFILE:
                left_out["in profile"] += 1
            elif view == DUAL and not dual:
                left_out["in dual view (--dual takes their frontal halves)"] += 1
            elif view == DUAL and subject not in FRONTAL_HALF:
                tree.skip(video, f"a dual view; which half of {subject} is frontal is not known")
            else:
                found.append(_Sequence(name, subject, CODES[code], view, video))
    if not names:
        raise InputError(
            f"{folder}: has no session with a video, like {SESSIONS}/1767/S028-001.avi; give the "
            f"folder that holds {SESSIONS}"
        )
    if not found:
        why = f" ({len(tree.skipped)} files skipped, --strict says why)" if tree.skipped else ""
        raise InputError(
            f"{folder}: none of its {len(names)} sessions is a frontal one of the six emotions; "
            f"download those{why}"
        )
    tree.expect(folder.name, of_six, SEQUENCES, "sequences of the six emotions")
    tree.expect(folder.name, len(found), FRONTAL_SEQUENCES, "frontal sequences of them")
    for kind, number in sorted(left_out.items()):
        tree.lacking.append(f"{folder.name}: {number} sessions {kind} are left out")
    return found


def _view(tree, session):
    """FRONTAL, PROFILE, DUAL or None."""
    file = session / "session.xml"
    elements = _elements(tree, file)
    views = {element.get("view") for element in elements or () if _tag(element) == "track"} - {None}
    if elements is None:
        return None
    if len(views) == 1 and views <= {FRONTAL, PROFILE, DUAL}:
        return views.pop()
    told = " and ".join(map(repr, sorted(views))) or "missing"
    tree.skip(file, f"view of the track: {told}; expected one of 0, 1, 2: restore the file")
    return None


def _emotion(tree, session, sequence):
    """A whole number from 0 to HIGHEST_CODE, or None."""
    file = session / f"{sequence}.xml"
    elements = _elements(tree, file)
    if elements is None:
        return None
    for element in elements:
        if _tag(element) == "metatag" and (element.get("Name") or "").lower() == "emotion":
            text = (element.get("Value") or "0").strip()
            if text in map(str, range(HIGHEST_CODE + 1)):
                return int(text)
            tree.skip(
                file, f"emotion code {text!r}; expected 0 to {HIGHEST_CODE}, restore the file"
            )
            return None
    return 0


def _elements(tree, file):
    """All elements of an XML file, or None if it is missing or damaged."""
    found = tree.find(file.parent, file.name)
    if found is None:
        # A link that cannot be followed is skipped already.
        if not file.is_symlink():
            tree.skip(file, "no such file; download the session again")
        return None
    try:
        return list(ElementTree.parse(found).iter())
    except OSError as error:
        tree.skip(found, f"cannot be read ({error.strerror}); mend its permissions")
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        tree.skip(found, f"is no XML ({error}); download the session again")
    return None


def _tag(element):
    return element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""


def _compare(tree, path, chosen, sequences):
    used = {sequence.name for sequence in sequences}
    if strange := sorted(set(chosen) - used):
        tree.lacking.append(
            f"{path} names {len(strange)} sequences that are not used, the first is {strange[0]}"
        )
    if missing := sorted(used - set(chosen)):
        tree.lacking.append(
            f"{path} has no peak of {len(missing)} sequences, the first is {missing[0]}; "
            "their middles are taken"
        )


def _peak(sequence, chosen, peaks_file, last):
    """The frame of a sequence's peak: the one of `chosen`, else the middle of its `last` frames."""
    peak = chosen.get(sequence.name)
    if peak and not 2 <= peak <= last:
        raise InputError(
            f"{peaks_file}: frame {peak} of {sequence.name}; its video has the frames 2 to "
            f"{last} after the neutral one, correct the row"
        )
    return peak or (1 + last) // 2


def _window(peak, size, last):
    """`size` frame numbers around `peak`, moved or cut to lie within 2 ... `last`."""
    first = max(2, min(peak - (size - 1) // 2, last - size + 1))
    return range(first, min(first + size, last + 1))


def _count(tree, sequence, folder):
    """How many frames the video has, or None if it cannot be used.

    Only decoding them all tells, so the number is kept beside the frames, with the video's size and
    time: frames of an earlier video of that name are removed.
    """
    status = sequence.video.stat()
    video = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "view": sequence.view}
    note = folder / "video.json"
    try:
        known = json.loads(note.read_text())
    except (OSError, ValueError):
        known = {}
    if known and known.items() >= video.items():
        return known["frames"]
    with quiet():
        capture = cv2.VideoCapture(str(sequence.video), cv2.CAP_FFMPEG)
        told = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        frames = 0
        while capture.grab():
            frames += 1
    if not frames:
        tree.skip(sequence.video, "no frame can be decoded; download the session again")
    elif frames < LEAST_SHARE * told:
        tree.skip(
            sequence.video,
            f"breaks off after frame {frames} of {told:.0f}; download the session again",
        )
    elif frames < 2:
        tree.skip(sequence.video, "has only one frame; download the session again")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("*.png"):
            stale.unlink()
        with replacing(note) as file:
            json.dump(video | {"frames": frames}, file)
        return frames
    return None


def _write_frames(sequence, wanted):
    """Write those of the frames `wanted`, {number: file}, that are not there."""
    missing = {
        number: file
        for number, file in wanted.items()
        # An empty file is what a power cut may leave of a frame.
        if not (file.is_file() and file.stat().st_size)
    }
    if not missing:
        return
    with quiet():
        capture = cv2.VideoCapture(str(sequence.video), cv2.CAP_FFMPEG)
        for number in range(1, max(missing) + 1):
            capture.grab()
            if number in missing:
                decoded, frame = capture.retrieve()
                if not decoded:
                    raise InputError(
                        f"{sequence.video}: frame {number} can no longer be decoded; run again"
                    )
                image = cv2.imencode(".png", _frontal(frame, sequence))[1]
                with replacing(missing[number], "wb") as file:
                    file.write(image.tobytes())


def _frontal(frame, sequence):
    """The upright frontal face of a video's frame, gray."""
    gray = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    height, width = gray.shape
    if sequence.view == DUAL:
        half = width // 2
        return gray[:, half:] if FRONTAL_HALF[sequence.subject] == "right" else gray[:, :half]
    if lies_on_its_side(width, height):
        return cv2.rotate(gray, cv2.ROTATE_90_CLOCKWISE)
    return gray


def lies_on_its_side(width, height):
    """Whether frontal videos of that size show heads turned by a right angle."""
    return 4 * width == 5 * height
