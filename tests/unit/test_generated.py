"""The documentation says what the code says."""

from __future__ import annotations

from saga.definition import parse_definition
from saga.language.checks import not_yet_executed
from tests.generated import ROOT, filled


def test_the_generated_parts_of_the_readme_are_as_the_code_has_them() -> None:
    """Settings, defaults and state diagram; ``python -m tests.generated`` writes them."""
    page = (ROOT / "README.md").read_text()

    assert filled(page) == page


def test_the_readme_lists_what_is_not_executed_yet() -> None:
    """Each kind of step and each field that a definition is answered 422 for."""
    call = {"url": "http://a"}
    kinds = {
        "wait": "1s",
        "signal": {"name": "s"},
        "saga": {"name": "s"},
        "worker": {"queue": "q"},
        "fail": "no",
        "action": call,
    }
    steps = [
        {"name": f"a_{kind}", kind: what} | ({} if kind != "worker" else {"compensation": "none"})
        for kind, what in kinds.items()
    ]
    steps[-1] |= {"for_each": "${input.x}", "compensation": {"worker": {"queue": "q"}}}
    definition = parse_definition({"name": "all", "steps": steps}).definition
    page = (ROOT / "README.md").read_text()

    (sentence,) = [line for line in page.splitlines() if "`not-yet-executed`" in line]

    named = {each.pointer.rpartition("/")[2] for each in not_yet_executed(definition)}
    assert named == {"wait", "signal", "saga", "worker", "fail", "for_each", "compensation"}
    assert [name for name in named if name not in sentence] == []
