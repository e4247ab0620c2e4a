"""A short run of the calls that are made up from the API's description; the long one is ``python -m tests.fuzz``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.calls import Tally, fuzz
from tests.fuzz.world import world

#: Milliseconds of CPU that a call may cost the coordinator; about 2 are used.
COST = 25


@pytest.mark.slow
def test_no_call_is_answered_otherwise_than_described(tmp_path: Path) -> None:
    """No error of the server, no answer that the description does not foresee; and the coordinator goes on."""
    with world(tmp_path) as made:
        before = made.cpu
        tally = fuzz(made, tmp_path, calls=100, seed=1)
        assert not tally.violations, "\n".join(tally.violations)
        assert tally.calls >= 100
        assert len(tally.statuses) > 20
        assert 1000 * (made.cpu - before) / tally.calls < COST
        assert list(made.troubles()) == []
        assert list(made.stop()) == []


def test_an_answer_that_is_not_described_is_a_violation() -> None:
    """The tally sees what it is there to see."""
    tally = Tally()

    def answered(status: int, **headers: str) -> None:
        given = {name.replace("_", "-"): [value] for name, value in headers.items()}
        request = {"method": "GET", "uri": "http://127.0.0.1:1/healthz", "body": None}
        content = {"$base64": "eyJzdGF0dXMiOiAib2sifQ=="}
        answer = {"status_code": status, "headers": given, "content": content}
        tally.add({"interactions": {"a": {"request": request, "response": answer}}, "checks": {}})

    answered(200, request_id="r", content_type="application/json")
    assert (tally.calls, list(tally.violations)) == (1, [])
    answered(200, content_type="application/json")
    assert len(tally.violations) == 1
    answered(500, request_id="r", content_type="application/json")
    assert tally.statuses == {"GET /healthz": {200: 2, 500: 1}}
    assert len(tally.violations) == 3
    tally.add({"interactions": {"a": {"request": {"method": "GET", "uri": "http://x/"}, "response": None}}})
    assert len(tally.violations) == 4
