"""What came of every point, as a table, and what is wrong with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.crash_points.points import UNREACHED
from tests.crash_points.stage import Outcome

#: In each column the first visit stands before the second.
COLUMNS = (
    *((way, met) for way in ("forward", "backward") for met in ("recovered", "fresh")),
    ("making", "a file"),
    ("making", "an old file"),
)
WELL, MISSED, WRONG, NOT_ON_THE_WAY = "●", "○", "✗", "·"


@dataclass(kw_only=True)
class Page:
    """All outcomes."""

    outcomes: list[Outcome]
    points: list[str]
    seconds: float

    @property
    def well(self) -> bool:
        """Whether every point was come to, and everything was as promised after each kill."""
        return not any(self.wrong())

    def wrong(self) -> Iterator[str]:
        """Say what is wrong."""
        reached = {outcome.cell.point for outcome in self.outcomes if outcome.reached}
        for point in self.points:
            if point in UNREACHED and point in reached:
                yield f"{point} was reached, and is said not to be"
            if point not in UNREACHED and point not in reached:
                yield f"{point} was never reached: let the journey come to it, or say why it cannot"
        for outcome in self.outcomes:
            cell = outcome.cell
            where = f"{cell.point}, {cell.direction}, {cell.met}, visit {_visit(outcome)}"
            if not outcome.reached and not outcome.troubles and _visit(outcome) == 1:
                yield f"{where}: not reached"
            yield from (f"{where}: {text}" for text in outcome.troubles)
            yield from (f"{where}: {finding}" for finding in outcome.findings)

    def text(self) -> str:
        """Return it for a person."""
        width = max(map(len, self.points), default=0)
        marks: dict[tuple[str, str, str], str] = defaultdict(str)
        for outcome in sorted(self.outcomes, key=_visit):
            marks[outcome.cell.point, outcome.cell.direction, outcome.cell.met] += _mark(outcome)
        heads = [f"{way} {met}" for way, met in COLUMNS]
        lines = [f"{'':{width}}  {'  '.join(heads)}"]
        for point in self.points:
            cells = [
                marks.get((point, *column), NOT_ON_THE_WAY).center(len(head))
                for column, head in zip(COLUMNS, heads, strict=True)
            ]
            why = f"  {UNREACHED[point]}" if point in UNREACHED else ""
            lines.append(f"{point:{width}}  {'  '.join(cells)}{why}".rstrip())
        kills = sum(outcome.reached for outcome in self.outcomes)
        missed = sum(_mark(outcome) == MISSED for outcome in self.outcomes)
        wrong = list(self.wrong())
        legend = (
            f"first and second visit: {WELL} killed and all as promised, {MISSED} not reached, {WRONG} wrong, "
            f"{NOT_ON_THE_WAY} not on the way"
        )
        total = (
            f"{len(self.points)} points, {len(self.outcomes)} cells, {missed} of them missed by chance, {kills} kills, "
            f"{len(wrong)} things wrong, {self.seconds:.0f} s"
        )
        return "\n".join([*lines, "", legend, *wrong, total])


def _visit(outcome: Outcome) -> int:
    return max(outcome.cell.visit, outcome.cell.lives)


def _mark(outcome: Outcome) -> str:
    if outcome.troubles or outcome.findings:
        return WRONG
    return WELL if outcome.reached == outcome.cell.lives else MISSED
