"""The figures of `measures.measure` as text, beside those of another database."""

import json
from pathlib import Path

from data_prep.statistics.measures import BANDS
from gcnet_base.errors import InputError
from gcnet_base.protocol import EXPRESSIONS

REFERENCES = Path(__file__).parent / "references"

_ROWS = (
    ("faces", "expressive faces", "{}"),
    ("people", "people", "{}"),
    ("change", "change from the own neutral face (half squared error)", "{:.1f}"),
    *((f"change_by_class.{name}", f"  {name}", "{:.0f}") for name in EXPRESSIONS),
    ("between_people", "two people's neutral faces (half squared error)", "{:.0f}"),
    ("left_by_blur", "share of the change that a blur of sigma 2 leaves", "{:.2f}"),
    *(
        (f"change_by_band.{band}", f"  of the change in rows {top}-{end - 1}", "{:.2f}")
        for band, (top, end) in enumerate(BANDS)
    ),
    ("gray_mean", "gray, mean", "{:.2f}"),
    ("gray_deviation", "gray, standard deviation", "{:.2f}"),
    ("svm_pixels", "linear SVM on pixels, ten folds by person", "{:.1%}"),
    ("svm_pixels_change", "the same, own neutral face subtracted", "{:.1%}"),
    ("svm_hog", "linear SVM on HOG, ten folds by person", "{:.1%}"),
    ("svm_hog_change", "the same, HOG of the own neutral face subtracted", "{:.1%}"),
)


def names():
    """The references that come with the project."""
    return sorted(path.stem for path in REFERENCES.glob("*.json"))


def reference(name):
    """The figures of a reference: one of `names()`, or the path of a JSON that `statistics` wrote.

    Raises InputError if it is neither.
    """
    path = REFERENCES / f"{name}.json" if name in names() else Path(name)
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{name}: no such file; give {', '.join(names())} or a JSON that statistics -o wrote"
        ) from None
    except ValueError:
        figures = None
    if not isinstance(figures, dict) or not isinstance(figures.get("change"), (int, float)):
        raise InputError(f"{path}: no figures of faces; give a JSON that statistics -o wrote")
    return {"name": path.stem} | figures


def text(figures, beside=None):
    """A table of `measure`'s figures, with a second column and the ratio to it if there is one."""
    lines = [f"here: {figures['name']}"]
    if beside:
        lines += [f"beside: {beside['name']}", _line("", "here", "beside", "ratio")]
    for key, title, form in _ROWS:
        here, there = _value(figures, key), _value(beside or {}, key)
        if here is not None or there is not None:
            shown = ("-" if value is None else form.format(value) for value in (here, there))
            lines.append(_line(title, *shown, _ratio(here, there, form)))
    return "\n".join(lines)


def _value(figures, key):
    """The figure at a dotted key, None if it is not there."""
    name, _, part = key.partition(".")
    value = figures.get(name)
    if isinstance(value, list):
        value = dict(zip(map(str, range(len(value))), value))
    return value.get(part) if part and value else value


def _ratio(here, there, form):
    if here is None or not there or form == "{}":
        return ""
    return f"{100 * (here - there):+.1f} points" if form == "{:.1%}" else f"{here / there:.2f}"


def _line(title, here, there, ratio):
    return f"{title:<54} {here:>10}  {'' if there == '-' else there:>10}  {ratio}".rstrip()
