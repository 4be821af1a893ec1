"""Measures data preparation: images a second of each step as a database grows, memory, workers.

A synthetic CASIA-WebFace of each size goes through index, align and lmdb, each command a process of
its own. align gets the same five landmarks for every image, because MTCNN's time would hide what
is ours; with MTCNN a few hundred images are measured. Beside align and lmdb stands a bare loop: the
same calls of OpenCV, protobuf and lmdb, in one process of one thread, one after the other, with
nothing else. Written into --output, between two marker comments.
"""

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import lmdb
import numpy as np
import results_file

from data_prep import index
from data_prep.faces import align, crop, detect
from data_prep.lmdbs import augment
from gcnet_base.errors import InputError, one_line_errors
from gcnet_base.paths import ROOT
from torchcaffe.schema.caffe_pb2 import Datum

SIZES = (1_000, 10_000, 100_000)
COPIES = 1
DETECTED = 200
"""Images on which MTCNN is measured."""
PEOPLE = 40
"""Different people drawn; the other identities look like them."""
LANDMARKS = ((95.0, 100.0), (155.0, 100.0), (125.0, 135.0), (100.0, 165.0), (150.0, 165.0))
"""Of every 250x250 image: where its face may as well be, for a measurement of speed."""
SAMPLE_SECONDS = 0.2
SECONDS_TO_START = 5


def run(arguments, cores):
    """(seconds, MB) of a data_prep command on so many cores: wall time, and peak memory of it and
    its workers together, pages that they share counted once."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join((str(ROOT / "python"), str(ROOT))))
    command = [sys.executable, "-m", "data_prep", *map(str, arguments)]
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
    )  # fmt: skip
    peak = [0]
    ended = threading.Event()

    def watch():
        while not ended.wait(SAMPLE_SECONDS):
            peak[0] = max(peak[0], sum(map(_memory, _with_children(process.pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, errors = process.communicate()
    seconds = time.perf_counter() - start
    ended.set()
    watcher.join()
    if process.returncode:
        raise InputError(f"{' '.join(command)} failed: {errors.strip()[-500:]}")
    return seconds, peak[0] / 1e6


def _with_children(process):
    try:
        with open(f"/proc/{process}/task/{process}/children") as file:
            children = file.read().split()
    except OSError:
        return
    yield process
    for child in children:
        yield from _with_children(child)


def _memory(process):
    """Bytes of a process, shared pages divided among those who share them."""
    try:
        with open(f"/proc/{process}/smaps_rollup") as file:
            return sum(1024 * int(line.split()[1]) for line in file if line.startswith("Pss:"))
    except (OSError, ProcessLookupError):
        return 0


def with_landmarks(source, out):
    """The index `source` with LANDMARKS in every row, in the folder `out`; its path."""
    rows = [
        replace(row, image=os.path.abspath(source.parent / row.image), landmarks=LANDMARKS)
        for row in index.read(source).rows
    ]
    index.write(out / "index.csv", rows)
    return out / "index.csv"


def bare_align(images, out):
    """Seconds for the calls of align on image files with LANDMARKS, in a loop."""
    clahe = cv2.createCLAHE(crop.CLAHE_CLIP_LIMIT, crop.CLAHE_TILES)
    matrix = crop.similarity(LANDMARKS, crop.TEMPLATE)
    fine = max(1, int(np.ceil(1 / np.hypot(*matrix[:, 0]))))
    matrix *= fine
    matrix[:, 2] += (fine - 1) / 2
    side = align.FACE_SIZE * fine
    out.mkdir()
    start = time.perf_counter()
    for number, image in enumerate(images):
        gray = cv2.cvtColor(cv2.imread(image), cv2.COLOR_BGR2GRAY)
        face = cv2.warpAffine(
            gray, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        face = cv2.resize(face, (align.FACE_SIZE, align.FACE_SIZE), interpolation=cv2.INTER_AREA)
        cv2.imwrite(f"{out}/{number}.png", clahe.apply(face))
    return time.perf_counter() - start


def on_two_cores(loop, files, out):
    """Seconds of two processes, each with a bare loop over half of the files, side by side.

    What two cores of this machine give at best: they may share an arithmetic unit or a file system.
    """
    start = time.time() + SECONDS_TO_START
    out.mkdir()
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        halves = [
            pool.submit(_half, loop, files[half::2], out / str(half), start) for half in range(2)
        ]
        return max(half.result() for half in halves)


def _half(loop, files, out, start):
    cv2.setNumThreads(1)
    if time.time() > start:
        raise InputError("the two bare loops did not start together; run the bench again")
    time.sleep(start - time.time())
    return loop(files, out)


def bare_detection(images):
    """Seconds for MTCNN on image files, in a loop, once it is loaded."""
    detector = detect.Detector()
    detector.faces(cv2.imread(images[0]))
    start = time.perf_counter()
    for image in images:
        detector.faces(cv2.imread(image))
    return time.perf_counter() - start


def bare_lmdb(faces, out):
    """Seconds for the calls of lmdb on face files, each as it is and COPIES times augmented."""
    drawn = augment.draw(0, "bench")
    order = np.random.default_rng(0).permutation(len(faces))
    start = time.perf_counter()
    with lmdb.open(str(out), map_size=1 << 36, lock=False, sync=False) as database:
        records = []
        for number, face in enumerate(order):
            pixels = cv2.imread(faces[face], cv2.IMREAD_UNCHANGED)[None]
            for copy in range(COPIES + 1):
                image = augment.apply(drawn, pixels) if copy else pixels
                datum = Datum(channels=1, height=66, width=66, data=image.tobytes(), label=1)
                key = f"{number * (COPIES + 1) + copy:08d}".encode()
                records.append((key, datum.SerializeToString()))
            if len(records) >= 500 or number == len(faces) - 1:
                with database.begin(write=True) as transaction:
                    for key, value in records:
                        transaction.put(key, value, append=True)
                records = []
        database.sync(True)
    return time.perf_counter() - start


def measure(size, folder):
    """{step: images or records a second or MB} for a database of `size` images."""
    root, indexed = folder / "CASIA-WebFace", folder / "index"
    figures = {"images": size}
    identities = max(10, size // 47)  # as many images each as CASIA-WebFace has
    seconds, _ = run(
        ["synthesize", "casia_webface", root, "--identities", identities, "--images", size,
         "--people", PEOPLE], cores=2,
    )  # fmt: skip
    figures["synthesize"] = size / seconds
    seconds, figures["index MB"] = run(["index", "casia_webface", root, "-o", indexed], cores=1)
    figures["index"] = size / seconds
    table = with_landmarks(indexed / "index.csv", folder / "landmarks")
    images = [row.image for row in index.read(table).rows]

    for workers in (1, 2):
        faces = folder / f"faces{workers}"
        seconds, figures[f"align MB {workers}"] = run(
            ["align", table, "-o", faces, "--workers", workers], cores=workers
        )
        figures[f"align {workers}"] = size / seconds
    figures["align bare 1"] = size / bare_align(images, folder / "bare")
    figures["align bare 2"] = size / on_two_cores(bare_align, images, folder / "bare-two")
    for done in ("faces1", "bare", "bare-two"):
        shutil.rmtree(folder / done)

    table = folder / "faces2" / "index.csv"
    for workers in (1, 2):
        out = folder / f"lmdb{workers}"
        seconds, figures[f"lmdb MB {workers}"] = run(
            ["lmdb", table, "-o", out, "--identities", "--copies", COPIES, "--workers", workers],
            cores=workers,
        )
        figures[f"lmdb {workers}"] = size * (COPIES + 1) / seconds
    seconds, figures["check MB"] = run(["check", folder / "lmdb2"], cores=2)
    figures["check"] = size * (COPIES + 1) / seconds
    faces = [str(table.parent / row.image) for row in index.read(table).rows]
    records = size * (COPIES + 1)
    figures["lmdb bare 1"] = records / bare_lmdb(faces, folder / "bare-lmdb")
    figures["lmdb bare 2"] = records / on_two_cores(bare_lmdb, faces, folder / "bare-lmdbs")
    return figures


def measure_detection(folder):
    """Images a second of align with MTCNN: bare, with one worker, with two."""
    root, indexed = folder / "CASIA-WebFace", folder / "index"
    run(["synthesize", "casia_webface", root, "--identities", 20, "--images", DETECTED], cores=2)
    run(["index", "casia_webface", root, "-o", indexed], cores=1)
    table = index.read(indexed / "index.csv")
    figures = {"bare": DETECTED / bare_detection([row.image for row in table.rows])}
    for workers in (1, 2):
        seconds, _ = run(
            ["align", table.path, "-o", folder / f"faces{workers}", "--workers", workers],
            cores=workers,
        )
        figures[f"{workers}"] = DETECTED / seconds
    return figures


ROWS = (
    ("synthesize, images/s", "synthesize", None, None),
    ("index, images/s", "index", None, None),
    ("align, bare loop, images/s", "align bare 1", None, None),
    ("align, two bare loops on 2 cores", "align bare 2", "align bare 1", "times one"),
    ("align, 1 worker on 1 core", "align 1", "align bare 1", "of the bare loop"),
    ("align, 2 workers on 2 cores", "align 2", "align 1", "times one core"),
    ("lmdb, bare loop, records/s", "lmdb bare 1", None, None),
    ("lmdb, two bare loops on 2 cores", "lmdb bare 2", "lmdb bare 1", "times one"),
    ("lmdb, 1 worker on 1 core", "lmdb 1", "lmdb bare 1", "of the bare loop"),
    ("lmdb, 2 workers on 2 cores", "lmdb 2", "lmdb 1", "times one core"),
    ("check, records/s", "check", None, None),
    ("peak memory: index, MB", "index MB", None, None),
    ("align, 2 workers, MB", "align MB 2", None, None),
    ("lmdb, 2 workers, MB", "lmdb MB 2", None, None),
    ("check, MB", "check MB", None, None),
)
HOW = """\
## Data preparation

`{command}`, revision {revision}, on {cores} cores of {processor}.

Whole commands, their start included (about a second, which is most of what 1,000 images take), on a
synthetic CASIA-WebFace of 250x250 JPEG files ({people} people drawn, the others look like them).
align has the landmarks given; a record of lmdb is a face as it is or an augmented copy of it. The
bare loops make the same calls of OpenCV, protobuf and lmdb in one thread, with nothing else; two of
them side by side, each on half of the files and into a folder or LMDB of its own, are what the two
cores and the disk of this machine have to give (more than twice where the second one finds files in
memory that the first had to read).
"""


def markdown(columns, detection, how):
    """The text; `columns` are what `measure` returns."""
    titles = " | ".join(f"{figures['images']:,} images" for figures in columns)
    lines = [HOW.format(people=PEOPLE, **how), f"| | {titles} |", "|---" * (len(columns) + 1) + "|"]
    for title, key, base, unit in ROWS:
        cells = []
        for figures in columns:
            cell = f"{figures[key]:,.0f}"
            if base:
                cell += f", {figures[key] / figures[base]:.2f} {unit}"
            cells.append(cell)
        lines.append(f"| {title} | {' | '.join(cells)} |")
    if detection:
        bare, one, two = (detection[key] for key in ("bare", "1", "2"))
        lines.append(
            f"\nWith MTCNN, {DETECTED} images, its loading included: {bare:.1f} images/s in a bare "
            f"loop without the loading, {one:.1f} with one worker, {two:.1f} with two "
            f"({two / one:.2f} times)."
        )
    return "\n".join(lines) + "\n"


@one_line_errors
def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python bench/data.py --sizes 1000 --output /tmp/part.md",
    )
    parser.add_argument(
        "--sizes", default=",".join(map(str, SIZES)), metavar="A,B",
        help="images of the databases (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, default=ROOT / "bench" / "results.md", metavar="FILE",
        help="Markdown file that gets the table (default: bench/results.md)",
    )  # fmt: skip
    parser.add_argument(
        "--folder", type=Path, help="where to work; 100,000 images need 5 GB (default: a new one)"
    )
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    columns = []
    for size in map(int, arguments.sizes.split(",")):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            columns.append(measure(size, Path(folder)))
        print(columns[-1], flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        detection = measure_detection(Path(folder))
    text = markdown(columns, detection, results_file.circumstances("data.py"))
    results_file.write(arguments.output, "data.py", text)
    print(text)
    print(f"{arguments.output}: written")


if __name__ == "__main__":
    sys.exit(main())
