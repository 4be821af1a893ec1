"""Tables as text, Markdown, LaTeX and JSON."""

import json
import re
import textwrap


def settings_text(settings):
    """A Table's settings in a line."""
    named = dict(settings)
    classes, iterations = named.pop("classes"), named.pop("iterations")
    index, digest = named.pop("index", None), named.pop("index_sha256", "")
    where = f"Measured here on {index} (SHA-256 {digest[:12]}), " if index else "Measured here, "
    rest = ", ".join(f"{name} {value}" for name, value in named.items())
    return f"{where}{classes} classes, {iterations} iterations, {rest}"


def as_text(tables):
    """Aligned columns, a blank line between tables."""
    return "\n".join(map(_table_text, tables))


def _table_text(table):
    lines = [table.heading]
    if table.settings:
        lines.append(_filled(settings_text(table.settings)))
    heads = [column.split("\n") for column in table.columns]
    depth = max(map(len, heads))
    head_rows = [[([""] * (depth - len(h)) + h)[i] for h in heads] for i in range(depth)]
    widths = [max(map(len, cells)) for cells in zip(*head_rows, *table.rows, strict=True)]
    rows = [*head_rows, ["-" * width for width in widths], *table.rows]
    lines.append("")
    for row in rows:
        cells = [
            cell.ljust(width) if side == "l" else cell.rjust(width)
            for cell, width, side in zip(row, widths, table.alignment, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    lines += ["", *map(_filled, table.notes)] if table.notes else []
    return "\n".join(lines) + "\n"


def _filled(text):
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def as_markdown(tables):
    return "\n".join(map(_table_markdown, tables))


def _table_markdown(table):
    def row(cells):
        cells = [cell.replace("\n", " ").replace("|", "\\|") for cell in cells]
        return "| " + " | ".join(cells) + " |"

    lines = [f"**{table.heading}**", ""]
    if table.settings:
        lines += [settings_text(table.settings), ""]
    rule = ["---" if side == "l" else "---:" for side in table.alignment]
    lines += [row(table.columns), row(rule), *map(row, table.rows), ""]
    lines += [f"- {note}" for note in table.notes] + [""] * bool(table.notes)
    return "\n".join(lines)


def as_latex(tables):
    """Plain tabulars in table environments, without any package."""
    return "\n".join(map(_table_latex, tables))


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "±": r"$\pm$", "<": "$<$", ">": "$>$", "[": "{[}", "]": "{]}",
        **{character: "\\" + character for character in "&%$#_{}"},
    }
)  # fmt: skip
"""A "[" after a row's end would be read as the argument of its line break."""


def _table_latex(table):
    def row(cells):
        texts = (cell.translate(_LATEX) for cell in cells)
        return " & ".join(re.sub(r"(?<!\w)-(?=\d)", "$-$", text) for text in texts) + r" \\"

    headings = (
        rf"\shortstack[{side}]{{" + r"\\".join(column.translate(_LATEX).split("\n")) + "}"
        for side, column in zip(table.alignment, table.columns, strict=True)
    )
    said = [settings_text(table.settings)] if table.settings else []
    caption = ". ".join([table.heading, *said, *table.notes])
    return "\n".join(
        [
            r"\begin{table}",
            r"\footnotesize",
            rf"\caption{{{caption.translate(_LATEX)}.}}",
            rf"\begin{{tabular}}{{{table.alignment}}}",
            r"\hline",
            " & ".join(headings) + r" \\",
            r"\hline",
            *map(row, table.rows),
            r"\hline",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def as_json(tables):
    """A list of tables, numbers in full precision."""
    return json.dumps(
        [
            {
                "heading": table.heading,
                "settings": table.settings,
                "rows": table.content,
                "notes": table.notes,
            }
            for table in tables
        ],
        indent=1,
        ensure_ascii=False,
    ) + "\n"  # fmt: skip


FORMS = {"text": as_text, "markdown": as_markdown, "latex": as_latex, "json": as_json}
