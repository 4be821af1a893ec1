"""Imports point one way: each folder imports only what stands below it."""

import ast

import pytest
from conftest import REPOSITORY

FOLDERS = {
    "gcnet_base": REPOSITORY / "python" / "gcnet_base",
    "gcnet_layers": REPOSITORY / "python" / "gcnet_layers",
    "torchcaffe": REPOSITORY / "python" / "torchcaffe",
    "data_prep": REPOSITORY / "data_prep",
    "gcnet": REPOSITORY / "python" / "gcnet",
}

ALLOWED = {
    "gcnet_base": (),
    "gcnet_layers": (),
    "torchcaffe": (),
    "data_prep": ("gcnet_base", "torchcaffe.schema"),
    "gcnet": ("gcnet_base", "data_prep", "torchcaffe.schema", "torchcaffe.errors"),
}
"""{package: what of this tree it may import beside itself}"""

WITHIN_GCNET = (
    (
        "gcnet.engine",
        "gcnet.prototxt",
        "gcnet.published",
        "gcnet.sources",
        "gcnet.train.programs",
        "gcnet.train.trained_folder",
    ),  # fmt: skip
    ("gcnet.models",),
    ("gcnet.runs",),
    ("gcnet.train",),
    ("gcnet.evaluate",),
    ("gcnet.report",),
    ("gcnet.methods",),
)
"""From the lowest: each line may import the lines before it, and its own."""


def modules(package):
    """{dotted name: its file}"""
    found = {}
    for file in sorted(FOLDERS[package].rglob("*.py")):
        parts = file.relative_to(FOLDERS[package].parent).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = file
    return found


def imported(file):
    """Dotted names of all that a file imports from this tree, in functions, too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in FOLDERS}


def within(name, folder):
    return name == folder or name.startswith(folder + ".")


@pytest.mark.parametrize("package", FOLDERS)
def test_a_package_imports_what_stands_below_it(package):
    wrong = [
        f"{module} imports {name}"
        for module, file in modules(package).items()
        for name in sorted(imported(file))
        if not any(within(name, allowed) for allowed in (package, *ALLOWED[package]))
    ]
    assert not wrong, "\n".join(wrong)


def level(module):
    """The line of WITHIN_GCNET, by its longest name for the module."""
    return max(
        (
            (len(folder), number)
            for number, folders in enumerate(WITHIN_GCNET)
            for folder in folders
            if within(module, folder)
        ),
        default=(0, None),
    )[1]


def test_gcnet_imports_downwards():
    wrong = []
    for module, file in modules("gcnet").items():
        if level(module) is None:
            continue
        for name in sorted(imported(file)):
            if within(name, "gcnet") and (level(name) is None or level(name) > level(module)):
                wrong.append(f"{module} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_everything_of_gcnet_has_its_place():
    without = [
        module
        for module in modules("gcnet")
        if level(module) is None and module != "gcnet" and not within(module, "gcnet.in_caffe")
    ]
    assert not without


def test_what_runs_in_caffe_needs_nothing_else():
    wrong = [
        f"{module} imports {name}"
        for module, file in modules("gcnet").items()
        if within(module, "gcnet.in_caffe")
        for name in imported(file)
        if not within(name, "gcnet.in_caffe") and not within(name, "gcnet_base.errors")
    ]
    assert not wrong, "\n".join(wrong)


def test_the_engine_does_not_import_its_command_or_its_pycaffe():
    upper = ("torchcaffe.command", "torchcaffe.pycaffe", "torchcaffe.__main__")
    wrong = [
        f"{module} imports {name}"
        for module, file in modules("torchcaffe").items()
        if not any(within(module, folder) for folder in upper)
        for name in imported(file)
        if any(within(name, folder) for folder in upper)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "script", sorted((REPOSITORY / "python").glob("*.py")), ids=lambda p: p.name
)
def test_scripts_see_to_the_right_python_first(script):
    lines = script.read_text().splitlines()
    first = next(line for line in lines if "import" in line and any(f in line for f in FOLDERS))
    assert first.startswith("import gcnet_base.interpreter")
