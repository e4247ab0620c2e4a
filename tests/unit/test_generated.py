"""The documentation says what the code says."""

from __future__ import annotations

from tests.generated import ROOT, filled


def test_the_generated_parts_of_the_readme_are_as_the_code_has_them() -> None:
    """Settings and state diagram; ``python -m tests.generated`` writes them."""
    page = (ROOT / "README.md").read_text()

    assert filled(page) == page
