"""The peak of each sequence: a proposal by measure, and a page to correct it by hand.

Reads an aligned index with the frames of whole sequences (`index mmi --every 2`, then `align`).
Writes two files: CSV, columns sequence and frame, which `index mmi --peaks` reads, and beside it a
page (.html) with the faces of each sequence and their distances from the first, neutral one. A
click on a face chooses it; the page's button saves the corrected CSV. Rows that the CSV has already
are kept.
"""

import base64
import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from data_prep import FACE_SIZE, index
from data_prep.faces.decode import decode
from gcnet_base.atomic import replacing
from gcnet_base.errors import InputError
from gcnet_base.protocol import NEUTRAL

COLUMNS = ("sequence", "frame")

SHORTEST = 3

# The distances are averaged over a third of the sequence before the peak is sought: MTCNN's points
# shake by a pixel or two, which moves a face as far from neutral as a weak expression does. On 103
# synthetic MMI sequences of 30 to 62 frames (every second one, found by MTCNN) the proposal was
# 7.7 % of the sequence off the true apex on average and 15 % at the 90th percentile; unsmoothed
# 10.9 % and 27 %, over three faces 11.1 % and 33 %, over half of the sequence 8.3 % and 15 %.
_WINDOW_SHARE = 1 / 3

# A face of 66x66 takes 1.3 KB of the page so: 205 sequences of 50 faces are 13 MB.
_JPEG_QUALITY = 70
# Browsers draw pictures up to 32,767 pixels wide; longer sequences are thinned out.
_LONGEST = 32767 // FACE_SIZE

_CURVE_HEIGHT = 64


@dataclass(frozen=True)
class Sequence:
    """Measured frames of a sequence. `distances`: gray levels, as `frames`; `peak`: a frame."""

    name: str
    label: str
    frames: list
    distances: np.ndarray
    peak: int
    strip: bytes

    @property
    def curve(self):
        """Points of the distances for an SVG polyline, x in faces, y down from 0 to 1."""
        highest = max(float(self.distances.max()), 1.0)
        return " ".join(
            f"{place + 0.5:g},{1 - float(distance) / highest:.3f}"
            for place, distance in enumerate(self.distances)
        )


def read(path):
    """{sequence: frame} of a peaks file. Raises InputError naming its line."""
    peaks = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            if not set(COLUMNS) <= set(reader.fieldnames or ()):
                raise InputError(f"{path}, line 1: the columns must be {','.join(COLUMNS)}")
            for record in reader:
                where = f"{path}, line {reader.line_num}"
                sequence, frame = ((record[name] or "").strip() for name in COLUMNS)
                if not sequence:
                    raise InputError(f"{where}: sequence is empty; fill it in or drop the row")
                if not (frame.isascii() and frame.isdigit() and int(frame)):
                    raise InputError(f"{where}: frame {frame!r} is no number from 1 on; correct it")
                if sequence in peaks:
                    raise InputError(f"{where}: {sequence} is there twice; drop one of the rows")
                peaks[sequence] = int(frame)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; `python -m data_prep peaks` makes it") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file in UTF-8 ({error})") from None
    return peaks


def write(path, peaks):
    """Write {sequence: frame} in order of the sequences, whole or not at all."""
    with replacing(path, newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(sorted(peaks.items()))


def propose(distances):
    """The place (from 1 on) of the peak in a sequence's distances from its first frame."""
    window = max(3, int(_WINDOW_SHARE * len(distances)) | 1)
    padded = np.pad(distances, window // 2, mode="edge")
    smooth = np.convolve(padded, np.ones(window) / window, mode="valid")
    return 1 + int(np.argmax(smooth[1:]))


def measure(faces):
    """Mean absolute gray difference of each face (N x H x W, uint8) from the first, float64."""
    faces = faces.astype(np.float64)
    return np.abs(faces - faces[0]).mean(axis=(1, 2))


def write_proposals(index_path, path):
    """Write the peaks of an index to `path`, with the page; print how many were kept and proposed.

    Raises InputError.
    """
    page = path.with_suffix(".html")
    if page == path:
        raise InputError(f"{path}: is the name of the page; give one that ends with .csv")
    kept = read(path) if path.exists() else {}
    table = index.read(index_path)
    whole, left_out = _whole_sequences(table)
    progress = tqdm(whole.items(), desc="peaks", unit="sequence", leave=False, disable=None)
    sequences = [_sequence(table, name, rows) for name, rows in progress]
    proposed = {sequence.name: sequence.peak for sequence in sequences}
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, proposed | kept)
    _write_page(page, path.name, sequences, kept)
    if left_out:
        print(
            f"note: {left_out} sequences are left out, with fewer than {SHORTEST} frames or only "
            "labelled ones"
        )
    print(
        f"{path}: written, {len(set(proposed) - set(kept))} peaks proposed, "
        f"{len(kept)} kept as they were"
    )
    print(f"{page}: open it to correct them")


def _whole_sequences(table):
    """({sequence: its rows in order of their frames}, how many are left out as not whole)."""
    groups = {}
    for row in table.rows:
        if row.frame:
            groups.setdefault(row.sequence, []).append(row)
    whole = {}
    for name, rows in sorted(groups.items()):
        subjects = {row.subject for row in rows}
        if len(subjects) > 1:
            raise table.error(
                rows[0],
                f"sequence {name} is of {len(subjects)} subjects; give each its own name",
            )
        if len(rows) >= SHORTEST and any(not row.label for row in rows):
            step = -(-len(rows) // _LONGEST)
            whole[name] = sorted(rows, key=lambda row: int(row.frame))[::step]
    if not whole:
        raise InputError(
            f"{table.path}: has only labelled frames, no whole sequences; make it with "
            "`index mmi --every 2`, then align"
        )
    return whole, len(groups) - len(whole)


def _sequence(table, name, rows):
    faces = []
    for row in rows:
        face = decode(table.file(row.image), cv2.IMREAD_GRAYSCALE)
        if face is None or face.shape != (FACE_SIZE, FACE_SIZE):
            raise table.error(
                row, f"{row.image} is no face of {FACE_SIZE}x{FACE_SIZE} pixels; align the index"
            )
        faces.append(face)
    distances = measure(np.stack(faces))
    frames = [int(row.frame) for row in rows]
    strip = cv2.imencode(".jpg", np.hstack(faces), (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))[1]
    labels = {row.label for row in rows} - {NEUTRAL, ""}
    return Sequence(
        name=name,
        label=", ".join(sorted(labels)),
        frames=frames,
        distances=distances,
        peak=frames[propose(distances)],
        strip=strip.tobytes(),
    )


def _write_page(page, csv_name, sequences, kept):
    # Imported here: half a second that no other command needs.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    shown = {sequence.name for sequence in sequences}
    data = {
        "file": csv_name,
        "others": {name: frame for name, frame in kept.items() if name not in shown},
        "sequences": [
            {
                "name": sequence.name,
                "frames": sequence.frames,
                "distances": [round(float(distance), 2) for distance in sequence.distances],
                "proposed": sequence.peak,
                "chosen": kept.get(sequence.name, sequence.peak),
            }
            for sequence in sequences
        ],
    }
    text = environment.get_template("peaks.html.j2").render(
        sequences=sequences, data=data, face=FACE_SIZE, curve_height=_CURVE_HEIGHT
    )
    with replacing(page, encoding="utf-8") as file:
        file.write(text)
