"""Changed copies of prototxt/: experiments that differ from a net in one respect."""

from pathlib import Path

from gcnet import runs
from gcnet_base.atomic import replacing


def write(folder, source, net, change):
    """Write the solver, net and deploy net of `net` into `folder`, changed.

    `source` is laid out as prototxt/; `change(net text, solver text)` returns both changed. Returns
    the changed text of the net. Raises InputError as runs.source_texts does.
    """
    paths, texts = runs.source_paths(net, source), runs.source_texts(net, source)
    texts["net"], texts["solver"] = change(texts["net"], texts["solver"])
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        with replacing(folder / paths[name].name, encoding="utf-8") as file:
            file.write(text)
    return texts["net"]
