"""The tables of docs/metrics.md, made from the catalogue: ``python -m tests.metrics_page`` writes them anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from saga.metrics.catalogue import CATALOGUE, Question

PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"


def table(question: str) -> str:
    """Return the metrics that answer a question."""
    rows = [
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.meaning} |"
        for each in CATALOGUE
        if each.question == question
    ]
    return "\n".join(["| metric | kind | labels | meaning |", "|---|---|---|---|", *rows])


def filled(text: str) -> str:
    """Return the page with its tables as the code has them."""
    for question in get_args(Question):
        part = re.compile(rf"(<!-- {question}: [^>]*-->\n).*?(<!-- end -->)", re.DOTALL)
        text = part.sub(lambda found, of=question: f"{found[1]}{table(of)}\n{found[2]}", text)
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
