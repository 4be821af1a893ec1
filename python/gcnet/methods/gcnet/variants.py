"""Changed copies of prototxt/: experiments that differ from a net in one respect."""

from pathlib import Path

from gcnet import prototxt, sources
from gcnet_base.atomic import replacing


def write(folder, source, net, change):
    """Write the solver, net and deploy net of `net` into `folder`, changed.

    `source` is laid out as prototxt/; `change(net, solver)` changes a NetParameter and a
    SolverParameter. Returns the changed net. Raises InputError as sources.source_messages does.
    """
    paths, messages = sources.source_paths(net, source), sources.source_messages(net, source)
    change(messages["net"], messages["solver"])
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, message in messages.items():
        with replacing(folder / paths[name].name, encoding="utf-8") as file:
            file.write(prototxt.text(message, paths[name]))
    return messages["net"]
