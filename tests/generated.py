"""What of the documentation is made from the code: ``python -m tests.generated`` writes it anew."""

from __future__ import annotations

import re
from pathlib import Path

from saga.language.normal import DEFAULTS
from saga.settings import SETTINGS
from tests import reference
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


def pages() -> dict[Path, str]:
    """Return the pages that are made from the code alone."""
    return {ROOT / "docs" / "reference" / f"{name}.md": make() for name, make in reference.PAGES.items()}


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(filled(readme.read_text()))
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
