"""Parts of the documentation that are made from the code: ``python -m tests.generated`` writes them anew."""

from __future__ import annotations

import re
from pathlib import Path

from saga.language.normal import DEFAULTS
from saga.settings import SETTINGS
from tests.state_diagrams import saga_diagram

ROOT = Path(__file__).resolve().parent.parent


def settings_table() -> str:
    """Return the settings with default, unit and meaning."""
    rows = [
        f"| `{setting.variable}` | {f'`{setting.default_text}`' if setting.default_text else ''} "
        f"| {setting.unit} | {setting.meaning} |"
        for setting in SETTINGS
    ]
    return "\n".join(["| setting | default | unit | meaning |", "|---|---|---|---|", *rows])


def defaults_table() -> str:
    """Return what calls take that say nothing."""
    whose = {
        "action": "an action",
        "compensation": "a compensation, a step after the pivot, a pivot in doubt",
    }
    rows = [
        f"| {whose[phase]} | `{said['timeout']}` "
        f"| `{{{', '.join(f'{name}: {value}' for name, value in said['retry'].items())}}}` |"
        for phase, said in DEFAULTS.items()
    ]
    return "\n".join(["| | `timeout` | `retry` |", "|---|---|---|", *rows])


PARTS = {
    "defaults": defaults_table,
    "settings": settings_table,
    "states": lambda: f"```mermaid\n{saga_diagram().strip()}\n```",
}


def filled(text: str) -> str:
    """Return a page with every generated part as the code has it."""
    for name, make in PARTS.items():
        part = re.compile(rf"(<!-- {name}: [^>]*-->\n).*?(<!-- end -->)", re.DOTALL)
        text = part.sub(lambda found, make=make: f"{found[1]}{make()}\n{found[2]}", text)
    return text


if __name__ == "__main__":
    page = ROOT / "README.md"
    page.write_text(filled(page.read_text()))
