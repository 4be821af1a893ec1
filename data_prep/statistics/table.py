"""The figures of `measures.measure` as text, beside those of another database."""

import json
from pathlib import Path

from gcnet_base.errors import InputError

REFERENCES = Path(__file__).parent / "references"

_ROWS = (
    ("change", "change from the own neutral face (half squared error)", "{:.1f}"),
    ("between_people", "two people's neutral faces (half squared error)", "{:.0f}"),
    ("left_by_blur", "share of the change that a blur of sigma 2 leaves", "{:.2f}"),
    ("gray_mean", "gray, mean", "{:.2f}"),
    ("gray_deviation", "gray, standard deviation", "{:.2f}"),
    ("svm_pixels", "linear SVM on pixels, ten folds by person", "{:.1%}"),
    ("svm_pixels_change", "the same, own neutral face subtracted", "{:.1%}"),
    ("svm_hog", "linear SVM on HOG, ten folds by person", "{:.1%}"),
    ("svm_hog_change", "the same, HOG of the own neutral face subtracted", "{:.1%}"),
)
_BANDS = ("rows 0-24", "rows 25-41", "rows 42-63")


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
    lines = [_line("", "here", "beside", "ratio")] if beside else []
    for key, title, form in (
        ("faces", "expressive faces", "{}"),
        ("people", "people", "{}"),
    ):
        lines.append(_line(title, *_values(form, figures.get(key), beside and beside.get(key))))
    lines += [_compared(title, form, key, figures, beside) for key, title, form in _ROWS[:1]]
    for name in figures["change_by_class"]:
        pair = [one and one.get("change_by_class", {}) for one in (figures, beside)]
        lines.append(_compared(f"  {name}", "{:.0f}", name, *pair))
    lines += [_compared(title, form, key, figures, beside) for key, title, form in _ROWS[1:3]]
    for band, title in enumerate(_BANDS):
        pair = [
            one and dict(enumerate(one.get("change_by_band") or ())) for one in (figures, beside)
        ]
        lines.append(_compared(f"  of the change in {title}", "{:.2f}", band, *pair))
    lines += [_compared(title, form, key, figures, beside) for key, title, form in _ROWS[3:]]
    lines = [f"here: {figures['name']}", *([f"beside: {beside['name']}"] if beside else ()), *lines]
    return "\n".join(lines)


def _compared(title, form, key, figures, beside):
    here, there = figures.get(key), beside and beside.get(key)
    if here is None or not there:
        ratio = ""
    elif form.endswith("%}"):
        ratio = f"{100 * (here - there):+.1f} points"
    else:
        ratio = f"{here / there:.2f}"
    return _line(title, *_values(form, here, there), ratio)


def _values(form, *values):
    return ["-" if value is None else form.format(value) for value in values]


def _line(title, here, there="", ratio=""):
    return f"{title:<54} {here:>10}  {'' if there in (None, '-') else there:>10}  {ratio}".rstrip()
