"""What is sensitive is hidden wherever it is shown."""

from __future__ import annotations

from saga.core.masking import MASK, Veil


def test_a_sensitive_text_is_hidden_in_other_texts_numbers_and_addresses() -> None:
    """Within a label, as a number, and percent-encoded in an address."""
    veil = Veil(["4111999", "a b@c", "a%20b%40c"])

    assert veil.over({"label": "c-4111999", "n": 4111999}) == {"label": f"c-{MASK}", "n": MASK}
    assert veil.over(["http://h/undo/a%20b%40c?x=4111999"]) == [f"http://h/undo/{MASK}?x={MASK}"]


def test_a_very_short_text_hides_nothing() -> None:
    """Three characters are part of anything."""
    assert Veil(["123"]).over("order 123") == "order 123"
