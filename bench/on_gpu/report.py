"""What bench/gpu.py has found, in Markdown."""

HEADINGS = {
    "layers": "Layers: the GPU beside the CPU",
    "trainings": "Solvers and models: the GPU beside the CPU",
    "speed": "Speed",
    "folds": "Two folds side by side",
}
ENGINES = {
    "torchcaffe": "torchcaffe", "reading": "torchcaffe, reading from LMDB",
    "eager": "PyTorch, eager", "channels_last": "PyTorch, channels-last",
    "compile": "PyTorch, torch.compile", "cudagraphs": "PyTorch, torch.compile(cudagraphs)",
}  # fmt: skip
MAY_FAIL = ("compile", "cudagraphs")
"""Engines that need a compiler, or more of PyTorch than the others: told, and no failure."""


def failures(content):
    """[(part, item or None, text)] of everything that went wrong."""
    found = []
    for name, part in content["parts"].items():
        if "failure" in part:
            found.append((name, None, part["failure"]))
        for number, result in part["results"]:
            if "failure" in result:
                found.append((name, part["items"][number], result["failure"]))
            for engine, measured in result.get("engines", {}).items():
                if "failure" in measured and engine not in MAY_FAIL:
                    text = f"{ENGINES[engine]}: {measured['failure']}"
                    found.append((name, part["items"][number], text))
    return found


def markdown(content):
    machine = content["machine"]
    lines = ["## On a GPU", "", ", ".join(f"{key}: {value}" for key, value in machine.items())]
    wrong = failures(content)
    lines += ["", f"{len(wrong)} failures (reproductions.md)." if wrong else "No failures."]
    for name, part in content["parts"].items():
        lines += ["", f"### {HEADINGS[name]}", ""]
        lines += _tables(name, part)
        lines += [f"- FAILED {_item(item)}: {text}" for of, item, text in wrong if of == name]
    return "\n".join(lines) + "\n"


def reproductions(content):
    """For each failure what repeats it: part and item, and for a layer the net and the seed."""
    lines = ["# What failed, and how to see it again", ""]
    for name, item, text in failures(content):
        lines += [f"## {name}: {_item(item)}", "", text, ""]
        if name != "layers":
            lines += [f"    python bench/gpu.py --parts {name}", ""]
            continue
        if item is None:
            continue
        lines += [
            f"    python bench/gpu.py --parts layers --types {item['type']} --seed {item['seed']}",
            "",
        ]
        results = content["parts"][name]["results"]
        items = content["parts"][name]["items"]
        for number, result in results:
            if items[number] is item and "net" in result:
                given = {key: result[key] for key in ("seed", "phase", "passes")}
                lines += [f"run_cases.py: {given}", "", "```", result["net"].strip(), "```", ""]
    return "\n".join(lines)


def _item(item):
    return "all of it" if item is None else " ".join(str(value) for value in item.values())


def _tables(name, part):
    return {"layers": _layers, "trainings": _trainings, "speed": _speed, "folds": _folds}[name](
        part["items"], part["results"]
    )


def _layers(items, results):
    worst, count, left_out = {}, {}, {}
    for number, result in results:
        kind = items[number]["type"]
        count[kind] = count.get(kind, 0) + 1
        if "left out" in result:
            left_out[kind] = result["left out"]
        if "share" in result:
            worst[kind] = max(worst.get(kind, 0.0), result["share"])
    lines = [
        f"{len(results)} of {len(items)} cases; the greatest difference as a share of the largest "
        "magnitude of its blob.", "", "| layer | cases | worst |", "|---|---|---|",
    ]  # fmt: skip
    ordered = sorted(count, key=lambda kind: -worst.get(kind, 0.0))
    lines += [
        f"| {kind} | {count[kind]} | {worst[kind]:.1e} |" if kind in worst
        else f"| {kind} | {count[kind]} | {left_out.get(kind, 'none ran')} |"
        for kind in ordered
    ]  # fmt: skip
    return [*lines, ""]


def _trainings(items, results):
    lines = ["Shares of the largest: of parameters (solver), losses and changes of parameters "
             "(clear: no choice is close), losses (free).", "", "| | |", "|---|---|"]  # fmt: skip
    for number, result in results:
        found = ", ".join(
            f"{key} {value:.1e}" for key, value in result.items() if isinstance(value, float)
        )
        lines.append(f"| {_item(items[number])} | {found} |")
    return [*lines, ""]


def _speed(items, results):
    columns = ("", "engine", "ms", "least", "peak MB", "outputs off eager's")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    profiles = []
    for number, result in results:
        item = items[number]
        where = f"{item['net']}, {item['task']}, batch {item['batch']}"
        for engine, found in result.get("engines", {}).items():
            cells = [found.get(key, "") for key in ("ms", "least ms", "peak MB", "outputs off")]
            if "failure" in found and not found.get("ms"):
                cells[0] = "none: " + found["failure"].replace("|", "/")[:200]
            lines.append(f"| {where} | {ENGINES[engine]} | {' | '.join(map(str, cells))} |")
        if item["kind"] == "profile" and "kernels" in result:
            profiles += _profile(f"{where}, {ENGINES[item['engine']]}", result)
    return [*lines, "", *profiles]


def _profile(where, result):
    facts = {key: value for key, value in result.items() if not isinstance(value, dict)}
    lines = [f"One iteration of {where}: " + ", ".join(f"{k} {v}" for k, v in facts.items()) + "."]
    launching, waits = result.get("launching"), result["host waits"]
    if launching:
        lines.append(f"The host launches {launching['times']:g} times, {launching['ms']:g} ms.")
    lines += [f"It waits in {k} {v['times']:g} times, {v['ms']:g} ms." for k, v in waits.items()]
    lines += ["", "| kernel | times | ms |", "|---|---|---|"]
    for kernel, found in result["kernels"].items():
        lines.append(f"| {kernel.replace('|', '/')} | {found['times']:g} | {found['ms']:g} |")
    return [*lines, ""]


def _folds(items, results):
    keys = ("iteration", "seconds", "iterations a second", "loss", "accuracy", "error, generated",
            "error, unchanged", "data")  # fmt: skip
    lines = [f"| | {' | '.join(keys)} |", "|---" * (len(keys) + 1) + "|"]
    for number, result in sorted(results, key=lambda found: found[0]):
        if "iteration" in result:
            cells = " | ".join(str(result.get(key, "")) for key in keys)
            lines.append(f"| {_item(items[number])} | {cells} |")
    return [*lines, ""]
