"""What an index holds beside what the paper or the database's own description counts."""

from collections import defaultdict
from dataclasses import dataclass, field

from gcnet_base.protocol import EXPRESSIONS, NEUTRAL


@dataclass(frozen=True)
class Counts:
    """Known counts of a database: {label: number} of `of` ("sequences", "images" or "subjects").

    `total`: of all labels together; `subjects`: None where a database does not name them; `source`
    says who counts so.
    """

    of: str
    labels: dict = field(default_factory=dict)
    total: int | None = None
    subjects: int | None = None
    source: str = "paper"


def table(rows, counts):
    """Subjects, sequences and images per class as text, beside `counts`."""
    found = tally(rows)
    known = counts.labels | {"all": counts.total or sum(counts.labels.values())}
    title = f"{counts.source}: {counts.of}" if known["all"] else ""
    lines = [f"{'class':<15}{'subjects':>9}{'sequences':>10}{'images':>8}  {title}"]
    for group in (*EXPRESSIONS, NEUTRAL, UNLABELLED, "all"):
        if group in found["images"] or known.get(group):
            lines.append(
                f"{group:<15}{found['subjects'][group]:>9}{found['sequences'][group]:>10}"
                f"{found['images'][group]:>8}  {known.get(group) or '':>{len(title)}}"
            )
    if counts.subjects:
        lines[-1] += f" of {counts.subjects} subjects"
    return "\n".join(lines)


UNLABELLED = "(without label)"


def tally(rows):
    """{"subjects", "sequences", "images": {class, UNLABELLED or "all": number}}."""
    subjects, sequences, images = defaultdict(set), defaultdict(set), defaultdict(int)
    for row in rows:
        for group in (row.label or UNLABELLED, "all"):
            subjects[group].add(row.subject)
            sequences[group].add((row.subject, row.sequence or row.image))
            images[group] += 1
    return {
        "subjects": defaultdict(int, {group: len(those) for group, those in subjects.items()}),
        "sequences": defaultdict(int, {group: len(those) for group, those in sequences.items()}),
        "images": images,
    }
