"""page.html: complete, self-contained and escaped; its gallery in a real browser."""

import base64
import hashlib
import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tiny
from browser import Browser

from data_prep.lmdbs import places
from gcnet import runs
from gcnet.evaluate import scores
from gcnet.evaluate.evaluated import Evaluated, Predictions
from gcnet.report import page, plots
from gcnet.train import fold_lmdbs
from gcnet_base.errors import InputError
from gcnet_base.paths import portable, sha256

NAMES = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
HARMFUL = """</script><script>window.harmed = 1</script><b>&"' S9"""

#: label, predicted class, its probability, the true class's, subject, sequence, frame, fold
TESTED = (
    ("anger", "anger", 0.90, 0.90, "S1", "1", "8", 0),
    ("anger", "fear", 0.60, 0.30, "S1", "1", "9", 0),
    ("anger", "sadness", 0.95, 0.01, "S1", "1", "10", 0),
    ("happiness", "happiness", 0.50, 0.50, "S10", "2", "3", 0),
    ("happiness", "happiness", 0.99, 0.99, "S10", "2", "4", 0),
    ("fear", "fear", 0.70, 0.70, "S2", "1", "5", 1),
    ("fear", "surprise", 0.80, 0.15, "S2", "1", "6", 1),
    ("surprise", "surprise", 0.85, 0.85, HARMFUL, "<i>", "7", 1),
)
WRONG_FIRST = ["95 %", "80 %", "60 %", "50 %", "70 %", "85 %", "90 %", "99 %"]


def a_run(folder, net, log=True):
    settings = runs.Settings(
        net=net, classes="7", max_iter=40, batch=64, index="data/<b>&x/index.csv",
        index_sha256="ab" * 32,
        copies=2, seed=1, engine="bvlc", weights={}, prototxt="prototxt", prototxt_sha256="",
    )  # fmt: skip
    (folder / "fold0").mkdir(parents=True)
    if log:
        lines = [
            f"] Iteration {i} (1 iter/s), loss = {3 - i / 20}\n"
            f"    Train net output #0: loss_generation = 9 (* 0.1 = {1 - i / 80} loss)\n"
            for i in (0, 20, 40)
        ]
        (folder / "fold0" / "caffe.log").write_text("".join(lines))
    return runs.Run(folder, settings, "python python/train_folds.py --net s1r1", "c0ffee", "today")


def an_evaluated(folder, net="s1r1", tested=TESTED, **changes):
    """An Evaluated as gcnet.evaluate.evaluated.load gives it, of made-up answers; faces are noise."""
    run = a_run(folder, net)
    probabilities = np.full((len(tested), len(NAMES)), 0.0, np.float32)
    for row, (label, predicted, probability, of_truth, *_) in zip(
        probabilities, tested, strict=True
    ):
        row[NAMES.index(label)] = of_truth
        row[NAMES.index(predicted)] = probability
    predictions = Predictions(
        NAMES,
        [
            {"image": f"{subject}/{sequence}_{frame}.png", "subject": subject, "label": label,
             "sequence": sequence, "frame": frame}
            for label, _, _, _, subject, sequence, frame, _ in tested
        ],
        np.array([row[-1] for row in tested]),
        np.array([NAMES.index(row[0]) for row in tested]),
        probabilities,
    )  # fmt: skip
    results = json.loads(json.dumps({
        "run": run.name, "net": net, "classes": "7", "engine": "bvlc",
        "index": run.settings.index, "index_sha256": run.settings.index_sha256,
        "each_net_tests_all": False, "unfinished": {2: 10}, "missing": [3, 4, 5, 6, 7, 8, 9],
        **scores.scores(predictions), "generation": None, "paper": {"CK+ 7": 97.93}, **changes,
    }))  # fmt: skip
    generator = np.random.default_rng(5)
    inputs, generated = generator.integers(0, 256, (2, len(tested), 64, 64)).astype(np.uint8)
    return Evaluated(
        run, run.folder, results, predictions, inputs,
        generated if net in ("s0r0", "s1r0", "s0r1", "s1r1") else None,
        np.zeros((len(tested), 384), np.float32),
    )  # fmt: skip


def a_picture(shade=200):
    return cv2.imencode(".png", np.full((40, 900, 3), shade, np.uint8))[1].tobytes()


def without_fold_1(tested):
    return [row for row in tested if row[-1] == 0]


@pytest.fixture
def plain_curves(monkeypatch):
    """Curves that take no time to draw."""
    monkeypatch.setattr(plots, "curves", lambda logs, dark=False: a_picture())


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The report of one run."""
    folder = tmp_path_factory.mktemp("one")
    path = folder / "page.html"
    evaluated = an_evaluated(folder / "run")
    page.write(path, "GCNet S1R1 & co", [evaluated], [("Figure 4, <here>", a_picture())])
    return path, evaluated


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """The report of three runs, of which the CNN lacks a fold and S0R0 has all images right."""
    folder = tmp_path_factory.mktemp("three")
    path = folder / "page.html"
    right = [(row[0], row[0], 0.65, 0.65, *row[4:]) for row in TESTED]
    evaluated = [
        an_evaluated(folder / "cnn", "cnn", without_fold_1(TESTED)),
        an_evaluated(folder / "s0r0", "s0r0", right),
        an_evaluated(folder / "s1r1", "s1r1"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "curves", lambda logs, dark=False: a_picture(40 if dark else 250))
        page.write(path, "Table II", evaluated, [("Figure 11", a_picture())])
    return path, evaluated


def gallery_of(path):
    block = re.search(
        r'<script type="application/json" id="gallery-data">(.*?)</script>', path.read_text()
    )
    return json.loads(block[1])


# -- the file -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pages", ["one", "three"])
def test_nothing_is_loaded_from_elsewhere(pages, request):
    page = request.getfixturevalue(pages)[0].read_text()
    sources = re.findall(r"""(?:src|href|srcset|url)\s*[=(]\s*["'`]?([^"'`\s>)]+)""", page)
    outside = [s for s in sources if not s.startswith(("data:image/", "#", "${"))]
    assert not outside and len(sources) > 5
    assert "@import" not in page


def test_only_the_gallerys_script_may_run(one):
    page = one[0].read_text()
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    images_and_styles = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert f"{images_and_styles}; script-src '{digest}'" in page
    assert page.count("<script") == 2  # the data and the gallery


def test_everything_of_a_run_is_on_its_page(one):
    page = one[0].read_text()
    for text in [*NAMES, "GCNet S1R1", "engine BVLC Caffe 1.0", "97.93", "IDFERM", "c0ffee"]:
        assert text in page, text
    assert "paper, on the real database" in page
    assert "python python/train_folds.py --net s1r1" in page
    assert "2 of 10 folds" in page
    assert "fold 2 (at iteration 10)" in page
    assert "Not trained: fold 3, 4, 5, 6, 7, 8, 9" in page


def test_several_runs_are_compared_first_and_each_is_told(three):
    page = three[0].read_text()
    text = re.sub(r"<[^>]*>", " ", page)
    comparison, models, pictures, gallery = map(
        page.index, ('id="comparison"', 'id="models"', 'id="figures"', 'id="gallery"')
    )
    assert comparison < models < pictures < gallery
    assert page.count("<details>") == 3 == page.count("<h2>Confusion matrix</h2>")
    for one in three[1]:
        assert page.count(one.name) >= 2, one.name
    assert "GCNet S0R0: 2 of 10 folds" in text
    assert "CNN: 1 of 10 folds" in text


def test_names_from_outside_are_escaped(one):
    page = one[0].read_text()
    assert "data/&lt;b&gt;&amp;x/index.csv" in page and "<b>&x" not in page
    assert "Figure 4, &lt;here&gt;" in page and "<here>" not in page
    assert "window.harmed" in page and "<script>window" not in page
    assert gallery_of(one[0])["images"][-1]["subject"] == HARMFUL


@pytest.mark.parametrize("across", [2, 16])
def test_the_sheets_hold_every_face(tmp_path, monkeypatch, across, plain_curves):
    monkeypatch.setattr(page, "ACROSS", across)
    evaluated = an_evaluated(tmp_path / "run")
    page.write(tmp_path / "page.html", "", [evaluated], [])
    gallery = gallery_of(tmp_path / "page.html")
    for kind, faces in (("input", evaluated.inputs), ("generated", evaluated.generated)):
        sheets = [
            cv2.imdecode(
                np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8),
                cv2.IMREAD_UNCHANGED,
            )
            for uri in gallery["sheets"][kind]
        ]
        assert len(sheets) == -(-len(TESTED) // across**2)
        for i, face in enumerate(faces):
            row, column = divmod(i % across**2, across)
            sheet = sheets[i // across**2]
            assert (sheet[64 * row :, 64 * column :][:64, :64] == face).all()


def test_a_cnn_has_no_generated_references(tmp_path, plain_curves):
    page.write(tmp_path / "r.html", "CNN", [an_evaluated(tmp_path / "run", "cnn")], [])
    gallery = gallery_of(tmp_path / "r.html")
    assert gallery["generator"] is None and list(gallery["sheets"]) == ["input"]
    assert "show the difference" not in (tmp_path / "r.html").read_text()


def test_the_reference_is_of_the_model_with_most_parts(three):
    gallery = gallery_of(three[0])
    assert gallery["models"] == ["CNN", "GCNet S0R0", "GCNet S1R1"]
    assert gallery["generator"] == 2


def test_equal_nets_are_told_apart_by_their_run_folders(tmp_path, plain_curves):
    pair = [an_evaluated(tmp_path / name) for name in ("random", "pretrained")]
    page.write(tmp_path / "r.html", "", pair, [])
    names = ["GCNet S1R1 (random)", "GCNet S1R1 (pretrained)"]
    assert gallery_of(tmp_path / "r.html")["models"] == names


def test_of_too_many_images_the_worst_are_shown(tmp_path, monkeypatch, plain_curves):
    monkeypatch.setattr(page, "MOST_IMAGES", 4)
    page.write(tmp_path / "r.html", "", [an_evaluated(tmp_path / "run")], [])
    shown = [image["said"][0][1] for image in gallery_of(tmp_path / "r.html")["images"]]
    assert [f"{100 * p:.0f} %" for p in shown] == WRONG_FIRST[:4]
    assert "Of 8 tested images these are the first 4" in (tmp_path / "r.html").read_text()


def test_runs_on_different_images_are_not_put_together(tmp_path):
    pair = [an_evaluated(tmp_path / "a"), an_evaluated(tmp_path / "b", index_sha256="cd")]
    with pytest.raises(InputError, match=r"/b: is of another index than .*/a; report them apart"):
        page.write(tmp_path / "r.html", "", pair, [])
    assert not (tmp_path / "r.html").exists()


def test_the_training_pairs_are_those_of_the_lmdb(tmp_path, monkeypatch, plain_curves):
    monkeypatch.setattr(places, "LMDBS", tmp_path / "lmdbs")
    index = tiny.write_database(tmp_path / "tiny" / "faces")
    evaluated = an_evaluated(tmp_path / "run")
    settings = replace(evaluated.run.settings, index=portable(index), index_sha256=sha256(index))
    evaluated = replace(evaluated, run=replace(evaluated.run, settings=settings))
    page.write(tmp_path / "r.html", "", [evaluated], [])
    assert "Training pairs" not in (tmp_path / "r.html").read_text()
    fold_lmdbs.build_missing(evaluated.run, 0)
    page.write(tmp_path / "r.html", "", [evaluated], [])
    html = (tmp_path / "r.html").read_text()
    assert "Training pairs" in html and html.count('<img alt="neutral"') == 8


def test_a_page_comes_out_the_same(one, tmp_path):
    path, evaluated = one
    page.write(
        tmp_path / "r.html", "GCNet S1R1 & co", [evaluated], [("Figure 4, <here>", a_picture())]
    )
    assert (tmp_path / "r.html").read_bytes() == path.read_bytes()


def test_the_confusion_matrix_comes_out_the_same(tmp_path):
    for turn in "ab":
        plots.confusion(np.eye(7, dtype=int), NAMES, tmp_path / turn)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# -- the page in a browser ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    started = Browser(tmp_path_factory.mktemp("browser"))
    yield started
    started.close()


@pytest.fixture
def opened(browser, one):
    page = browser.open(one[0])
    yield page
    assert page.complaints == []
    outside = [address for address in page.requests if not address.startswith("data:image/")]
    assert outside == [one[0].as_uri()]
    assert page.evaluate("window.harmed") is None


@pytest.fixture
def opened_three(browser, three):
    page = browser.open(three[0])
    yield page
    assert page.complaints == []


COUNT = "#gallery-count"


def column(page, title):
    """The text of a column of the gallery from top to bottom, out of view, too; lines apart."""
    return page.evaluate(
        f"""[...document.querySelectorAll("#gallery tbody td[data-title='{title}']")].map("""
        "cell => [...cell.children].map(line => line.textContent).join('\\n'))"
    )


def header(title):
    """A selector of a column's header button, by its place on the page of one run."""
    titles = ["Image, reference", "True class", "Predicted", "Probability", "Subject", "Fold"]
    return f"#gallery th:nth-child({1 + titles.index(title)}) button"


def probabilities(page):
    return [text.split(",")[0] for text in column(page, "Probability")]


def sorted_by(page):
    """{column: aria-sort} of the columns that have one."""
    return page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('#gallery th[aria-sort]')]"
        ".map(e => [e.innerText, e.getAttribute('aria-sort')]))"
    )


def test_wrong_images_come_first_and_say_what_was_right(opened):
    assert probabilities(opened) == WRONG_FIRST
    assert column(opened, "Probability")[:2] == ["95 %, true 1 %", "80 %, true 15 %"]
    assert column(opened, "True class")[:4] == ["anger", "fear", "anger", "happiness"]
    assert column(opened, "Predicted")[:4] == ["sadness", "surprise", "fear", "happiness"]
    assert opened.evaluate("document.querySelectorAll('#gallery td.class.wrong').length") == 3
    assert opened.texts(COUNT) == ["8 of 8 images, 3 of them wrong"]


def test_a_column_sorts_by_mouse_and_the_other_way_round(opened):
    opened.click(header("Probability"))
    assert probabilities(opened) == sorted(WRONG_FIRST, reverse=True)
    assert sorted_by(opened) == {"Probability": "descending"}
    assert opened.evaluate("document.querySelector('#gallery-order').value") == "probability"
    opened.click(header("Probability"))
    assert probabilities(opened) == sorted(WRONG_FIRST)
    assert sorted_by(opened) == {"Probability": "ascending"}
    opened.click(header("Subject"))  # S2 before S10, frame 9 before 10
    assert [text.split("\n")[1] for text in column(opened, "Subject")][:8] == [
        "<i> · 7", "1 · 8", "1 · 9", "1 · 10", "1 · 5", "1 · 6", "2 · 3", "2 · 4"
    ]  # fmt: skip
    assert column(opened, "Subject")[0].startswith(HARMFUL)


def test_a_column_sorts_by_keyboard(opened):
    opened.evaluate(f"document.querySelector({header('True class')!r}).focus()")
    opened.press("Tab")  # on to the next column
    opened.press("Enter", "\r")
    assert sorted_by(opened) == {"Predicted": "ascending"}
    assert column(opened, "Predicted") == sorted(column(opened, "Predicted"))
    opened.press(" ", " ")
    assert sorted_by(opened) == {"Predicted": "descending"}


def test_the_list_of_orders_and_its_reverse(opened):
    opened.choose("#gallery-order", "fold")
    assert column(opened, "Fold") == list("00000111")
    opened.click("#gallery-reverse")
    assert column(opened, "Fold") == list("11100000")
    assert opened.evaluate("document.querySelector('#gallery-reverse').ariaPressed") == "true"
    opened.choose("#gallery-order", "wrong")
    assert probabilities(opened) == WRONG_FIRST


def test_filters_and_their_counts(opened):
    opened.choose("#gallery-label", str(NAMES.index("anger")))
    assert column(opened, "True class") == ["anger"] * 3
    assert opened.texts(COUNT) == ["3 of 8 images, 2 of them wrong"]
    opened.choose("#gallery-predicted", str(NAMES.index("fear")))
    assert probabilities(opened) == ["60 %"]
    assert opened.texts(COUNT) == ["1 of 8 images, 1 of them wrong"]
    opened.choose("#gallery-label", "")
    assert probabilities(opened) == ["60 %", "70 %"]
    opened.choose("#gallery-predicted", "")
    opened.click("#gallery-wrong")
    assert probabilities(opened) == WRONG_FIRST[:3]
    assert opened.texts(COUNT) == ["3 of 8 images, 3 of them wrong"]


def shown_face(page, kind, tmp_path):
    """The pixels of the first face of a kind, as the browser draws them (without its corners)."""
    where = page.evaluate(
        f"(() => {{ const e = document.querySelector('.face.{kind}');"
        "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
        "return [r.y, r.x, r.height, r.width]; })()"
    )
    y, x, height, width = map(round, where)
    page.screenshot(tmp_path / "face.png")
    picture = cv2.imread(str(tmp_path / "face.png"), cv2.IMREAD_GRAYSCALE)
    return picture[y + 5 : y + height - 5, x + 5 : x + width - 5]


def test_the_faces_shown_are_the_images_and_their_references(opened, one, tmp_path):
    evaluated = one[1]
    first = 2  # of TESTED, the most confident mistake
    inner = slice(5, -5)
    face, made = (
        faces[first][inner, inner].astype(int) for faces in (evaluated.inputs, evaluated.generated)
    )
    assert (shown_face(opened, "input", tmp_path) == face).all()
    assert (shown_face(opened, "generated", tmp_path) == made).all()
    opened.click("#gallery-difference")
    brightened = np.minimum(2 * abs(face - made), 255)
    assert np.abs(shown_face(opened, "difference", tmp_path) - brightened).max() <= 2


def test_models_side_by_side(opened_three):
    page = opened_three
    assert page.texts(COUNT) == ["8 of 8 images, 3 of them wrong by at least one model"]
    # Both the CNN and S1R1 are wrong about the first; the CNN has not tested fold 1.
    assert column(page, "GCNet S1R1")[0] == "sadness\n95 %, true 1 %"
    assert column(page, "CNN").count("–") == 3
    page.choose("#gallery-order", "predicted")
    assert column(page, "CNN")[0] == "anger\n90 %"
    page.choose("#gallery-model", "1")
    assert page.texts(COUNT) == ["8 of 8 images, 0 of them wrong"]
    page.choose("#gallery-model", "0")
    assert page.texts(COUNT) == ["5 of 8 images, 2 of them wrong"]
    page.click("#gallery th:nth-child(5) button")  # S1R1's: its mistakes first
    assert page.evaluate("document.querySelector('#gallery-model').value") == "2"
    assert [text.split("\n")[1][:4] for text in column(page, "GCNet S1R1")] == WRONG_FIRST
    assert sorted_by(page) == {"GCNet S1R1": "descending"}
    page.click("#gallery-wrong")
    assert page.texts(COUNT) == ["3 of 8 images, 3 of them wrong"]


def test_a_model_unfolds(opened_three):
    tables = "document.querySelector('details table').checkVisibility()"
    assert not opened_three.evaluate(tables)
    opened_three.click("summary")
    assert opened_three.evaluate(tables)


def test_without_javascript_there_are_the_tables_and_figures(browser, three):
    page = browser.open(three[0], script=False)
    visible = page.evaluate(
        "['#comparison td', '#figures img', 'noscript p', '#gallery-live'].map("
        "selector => document.querySelector(selector).checkVisibility())"
    )
    assert visible == [True, True, True, False]


@pytest.mark.parametrize("pages", ["one", "three"])
def test_light_dark_and_as_wide_as_a_telephone(browser, pages, request, tmp_path):
    path = request.getfixturevalue(pages)[0]
    grounds = []
    for dark in (False, True):
        for width in (1280, 390):
            page = browser.open(path, width, 844, dark=dark)
            page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true })")
            sizes = "[document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]"
            needed, given = page.evaluate(sizes)
            assert needed <= given, (width, dark)
            page.screenshot(tmp_path / f"{width}.png", whole=True)
            picture = cv2.imread(str(tmp_path / f"{width}.png"))
            assert picture.shape[0] > 2000
            grounds.append(picture[5, 5].mean())
    assert min(grounds[:2]) > 200 and max(grounds[2:]) < 50
