"""The tables of engines.py in Markdown."""

import statistics

NETS = {"s1r1": "S1R1", "cnn": "CNN", "autoencoder": "autoencoder"}
TABLES = {
    "training": "Training, batch 64, milliseconds of an iteration",
    "inference": "Inference, batch 64, milliseconds of a batch",
    "single": "Inference, one image, milliseconds",
}
HOW = """\
`{command}`, revision {revision}, on {cores} cores of {processor}.

Medians of {rounds} rounds (in brackets the minimum), and how many times as fast as BVLC Caffe. In a
round every engine runs one iteration in turn, in a process of its own, with {threads} threads. One
iteration is one step of the solver, 2 batches, 30 single images, or 100 batches read.

The Caffe engines train from LMDB, with reading; the PyTorch rows train on tensors made before, by
one fused kernel of SGD (`torch.optim.SGD(fused=True)`), and torch.compile infers with the weights
frozen. Before inference is timed, every engine's outputs were within 1e-4 of BVLC Caffe's, from the
same weights. The floor is the operations of the net's convolutions, deconvolutions and inner
products (2 a multiply-add; in training also the gradients) at the rate of a product of two
2048 x 2048 float32 matrices in torch, measured in the same rounds.
"""


def markdown(results, titles, circumstances):
    """The text. `results` is {measurement: {engine: Result}}, `titles` {engine: for people}."""
    parts = ["## The engines\n", HOW.format(**circumstances)]
    for kind, heading in TABLES.items():
        columns = {
            title: results[f"{kind}-{net}"]
            for net, title in NETS.items()
            if f"{kind}-{net}" in results
        }
        if columns:
            parts.append(_table(heading, columns, titles, lambda s: f"{1000 * s:.4g}"))
            parts.append(_fastest_compiled(columns, titles))
    if "reading" in results:
        columns = {"LMDB alone": results["reading"]}
        heading = "Input alone, images a second, batch 64, 66 x 66 pairs cropped to 64 x 64"
        parts.append(_table(heading, columns, titles, lambda s: f"{64 * 100 / s:,.0f}"))
    if "training-s1r1" in results:
        parts.append(_memory(results["training-s1r1"], titles))
    parts.append(_versions(results, titles))
    return "\n".join(part for part in parts if part)


def _table(heading, columns, titles, show):
    lines = [f"### {heading}\n", f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, title in titles.items():
        if any(name in column for column in columns.values()):
            cells = (_cell(column, name, show) for column in columns.values())
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(column, name, show):
    result = column.get(name)
    if result is None:
        return ""
    if result.failure:
        return "none: " + result.failure.replace("|", "/")
    median = statistics.median(result.seconds)
    cell = f"{show(median)} ({show(min(result.seconds))})"
    bvlc = column.get("bvlc")
    if bvlc is not None and bvlc.seconds:
        cell += f", {statistics.median(bvlc.seconds) / median:.2f}x"
    return cell


def _fastest_compiled(columns, titles):
    """Which of the two compiled forms to take for "torch.compile"."""
    fastest = []
    for title, column in columns.items():
        medians = {
            name: statistics.median(column[name].seconds)
            for name in ("compile", "compile_channels_last")
            if name in column and column[name].seconds
        }
        if len(medians) == 2:
            fastest.append(f"{title}: {titles[min(medians, key=medians.get)]}")
    return f"The faster compiled form: {'; '.join(fastest)}.\n" if fastest else ""


def _memory(column, titles):
    lines = ["### Peak of the resident memory, training S1R1, MB\n", "| | MB |", "|---|---|"]
    for name, result in column.items():
        if name != "floor" and result.memory is not None:
            lines.append(f"| {titles[name]} | {result.memory:.0f} |")
    return "\n".join(lines) + "\n"


def _versions(results, titles):
    versions = {}
    for of_engines in results.values():
        for name, result in of_engines.items():
            if result.versions:
                versions[titles[name]] = result.versions
    return "Versions: " + "; ".join(f"{key}: {value}" for key, value in versions.items()) + ".\n"
