"""What a scrape tells: everything the catalogue names, nothing else, and no more of it than is bounded."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from saga.core import entries as e
from saga.core.entries import Entry
from saga.core.journal import evolve
from saga.core.state import SagaState
from saga.metrics.catalogue import CATALOGUE
from saga.metrics.instruments import MOST, OTHER, Metrics
from saga.metrics.watched import MeteredTelemetry
from saga.ports.invoker import Invocation, NoAnswer, NotSent
from saga.ports.telemetry import NoTelemetry
from saga.stores.memory import MemoryStore
from tests import metrics_page
from tests.doubles import ScriptedInvoker, said
from tests.doubles_store import Fault, FaultyStore, scripted
from tests.served import Served, booking

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
#: What the client library tells of the process itself.
OF_THE_PROCESS = "process_"


class Scraped:
    """One scrape."""

    def __init__(self, text: str) -> None:
        #: Value of each sample by its name and labels.
        self.values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        #: Kind and names of labels of each metric, under the name its samples have.
        self.families: dict[str, tuple[str, frozenset[str]]] = {}
        for family in text_string_to_metric_families(text):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels: frozenset[str] = frozenset()
            for sample in family.samples:
                self.values[sample.name, frozenset(sample.labels.items())] = sample.value
                labels |= set(sample.labels) - {"le"}
            if family.samples:
                self.families[name] = (family.type, labels)

    def of(self, name: str, **labels: str) -> float | None:
        """Return the value of a sample; None when there is none."""
        return self.values.get((name, frozenset(labels.items())))


async def scraped(served: Served) -> Scraped:
    """Scrape a coordinator."""
    answer = await served.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return Scraped(answer.text)


def participants(invocation: Invocation) -> Any:
    """Answer by the number that the saga was started with."""
    case = json.loads(invocation.body or b"{}").get("n") if invocation.step == "seat" else None
    at = (invocation.saga_id, invocation.step, invocation.phase, invocation.attempt)
    answers = {
        ("refused", "pay", "action", 1): said(402),
        ("parked", "ticket", "action", 1): said(422),
        ("troubled", "seat", "action", 1): said(503),
        ("troubled", "seat", "action", 2): NoAnswer(detail="no answer in time"),
        ("troubled", "seat", "action", 3): NotSent(detail="no connection"),
        ("promised", "pay", "action", 1): said(202, location="http://127.0.0.1:1/promised"),
    }
    assert case is None or isinstance(case, int)
    return answers.get(at, said(200, {"of": invocation.step}))


def definition() -> dict[str, Any]:
    """Return the booking with quick retries and polls, late at once, one of its services an address."""
    document = booking(due="1ms")
    seat, pay, ticket = document["steps"]
    seat["action"]["retry"] = {"attempts": 4, "initial": "1ms"}
    pay["action"]["pending"] = {"timeout": "1m", "poll": "10ms"}
    ticket["action"] = {"url": "http://127.0.0.1:1/ticket", "on_status": {422: "refused"}}
    return document


@pytest.fixture
def store() -> FaultyStore:
    """Return a store that fails when it is told to."""
    return FaultyStore(MemoryStore(), scripted({}))


async def lived(served: Served, store: FaultyStore) -> None:
    """Let everything happen that is counted."""
    served.invoker.polls = [said(200, {"ok": True})]
    await served.put(definition())
    for name in ("fine", "refused", "troubled", "promised"):
        await served.post("/v1/sagas", {"definition": "booking", "id": name, "input": {"n": 1}})
        await served.ended(name)
    await served.post("/v1/sagas", {"definition": "booking", "id": "parked", "input": {"n": 1}})
    await served.until("parked", lambda saga: saga["status"] == "parked")
    await served.post("/v1/sagas", {"definition": "booking", "id": "again", "input": {"n": 1}})
    await served.ended("again")
    store.plan = scripted({"start": [Fault.BEFORE]})
    again = {"definition": "booking", "input": {"n": 1}}
    assert (await served.post("/v1/sagas", again)).type == "store-unavailable"


async def test_the_catalogue_is_what_is_emitted(store: FaultyStore) -> None:
    """Each metric with its kind and labels, and none that the catalogue lacks."""
    async with Served(ScriptedInvoker(participants), store=store) as served:
        await lived(served, store)
        await scraped(served)
        # A saga that nobody holds, and that is taken on for its message; its gauge falls to 0 and stays.
        assert (await served.post("/v1/sagas/parked/retry", {})).status == 200
        await served.ended("parked")
        found = await scraped(served)
    described = {each.name: (each.kind, frozenset(each.labels)) for each in CATALOGUE}
    emitted = {name: of for name, of in found.families.items() if not name.startswith(OF_THE_PROCESS)}
    assert emitted == described


async def test_a_scrape_answers_the_four_questions(store: FaultyStore) -> None:
    """Is it working, is it slow, is it stuck, what needs me."""
    async with Served(ScriptedInvoker(participants), store=store) as served:
        await lived(served, store)
        found = await scraped(served)
    of = {"definition": "booking"}
    assert found.of("saga_ready") == found.of("saga_store_up") == found.of("saga_trusted") == 1
    assert found.of("saga_starts_total", **of) == 6
    assert found.of("saga_ends_total", status="completed", **of) == 4
    assert found.of("saga_ends_total", status="compensated", **of) == 1
    assert found.of("saga_duration_seconds_count", status="compensated", **of) == 1
    tried = {
        outcome: found.of("saga_attempts_total", phase="action", outcome=outcome, **of)
        for outcome in ("succeeded", "refused", "uncertain", "not-executed", "pending")
    }
    assert tried == {"succeeded": 15, "refused": 2, "uncertain": 2, "not-executed": 1, "pending": 1}
    asked = {"service": "any", "phase": "action"}
    assert found.of("saga_participant_requests_total", answer="5xx", **asked) == 1
    assert found.of("saga_participant_requests_total", answer="none", **asked) == 1
    assert found.of("saga_participant_requests_total", answer="not-sent", **asked) == 1
    assert found.of("saga_participant_requests_total", service="any", phase="poll", answer="2xx") == 1
    assert found.of("saga_participant_requests_total", service="(url)", phase="action", answer="4xx") == 1
    assert found.of("saga_parked", **of) == 1
    assert found.of("saga_parked_total", cause="refused", **of) == 1
    assert found.of("saga_store_errors_total", error="unavailable") == 1
    assert found.of("saga_in_memory") == found.of("saga_requests_in_flight") == 0
    assert found.of("saga_due_delay_seconds") == 0
    started = {"method": "POST", "route": "/v1/sagas"}
    assert found.of("saga_http_requests_total", status="202", **started) == 6
    assert found.of("saga_http_requests_total", status="503", **started) == 1


async def test_nothing_a_client_makes_up_is_a_label(store: FaultyStore) -> None:
    """Neither a saga's id, its label, an address nor a method."""
    async with Served(ScriptedInvoker(participants), store=store) as served:
        await lived(served, store)
        await served.get("/v1/sagas/madeup-1")
        await served.get("/madeup-2")
        await served.ask("MKCOL", "/v1/sagas")
        text = (await served.get("/metrics")).text
    assert "madeup" not in text
    assert "MKCOL" not in text
    assert not re.search(r'"(fine|troubled|promised|again)"', text)
    assert 'method="(other)",route="(none)",status="404"' in text
    assert 'method="(other)",route="(none)",status="405"' in text


async def test_a_store_that_is_down_is_told(store: FaultyStore) -> None:
    """The scrape is answered all the same, and what was known stays."""
    async with Served(ScriptedInvoker(participants), store=store) as served:
        await lived(served, store)
        assert (await scraped(served)).of("saga_parked", definition="booking") == 1
        store.plan = lambda method: Fault.BEFORE if method in ("ping", "next_due", "list") else None
        found = await scraped(served)
        store.plan = scripted({})
        assert found.of("saga_store_up") == 0
        assert found.of("saga_parked", definition="booking") == 1
        assert (await scraped(served)).of("saga_store_up") == 1


async def test_scraping_needs_a_reader() -> None:
    """Where a token is needed at all."""
    async with Served(admin_token="t" * 32) as served:
        assert (await served.get("/metrics")).type == "unauthorized"
        assert (await served.get("/metrics", Authorization=f"Bearer {'t' * 32}")).status == 200


def journal(definition: str) -> list[Entry]:
    """Return the shortest there is."""
    started = e.SagaStarted(at=1.0, saga="s", definition=definition, version=1)
    return [started, e.SagaCompleted(at=2.0)]


def test_a_store_full_of_definitions_fills_no_memory() -> None:
    """What comes after the first thousand is counted together."""
    metrics = Metrics()
    telemetry = MeteredTelemetry(NoTelemetry(), metrics)
    for number in range(MOST + 50):
        before: SagaState | None = None
        for entry in journal(f"d{number}"):
            after = evolve(before, entry)
            telemetry.recorded((entry,), before, after)
            before = after
    found = Scraped(metrics.text().decode())
    assert found.of("saga_starts_total", definition="d999") == 1
    assert found.of("saga_starts_total", definition="d1000") is None
    assert found.of("saga_starts_total", definition=OTHER) == 50
    assert found.of("saga_ends_total", definition=OTHER, status="completed") == 50


# --------------------------------------------------------------------------- rules and dashboard


def expressions() -> Iterator[str]:
    """Return every query of the rules and of the dashboard."""
    from ruamel.yaml import YAML

    for group in YAML(typ="safe").load(ALERTS)["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def samples() -> set[str]:
    """Return every name a sample can have."""
    suffixes = {"histogram": ("_bucket", "_count", "_sum")}
    return {each.name + suffix for each in CATALOGUE for suffix in suffixes.get(each.kind, ("",))}


def test_rules_and_dashboard_ask_for_what_there_is() -> None:
    """Every metric they name is emitted, and of every question something is shown."""
    asked = {name for text in expressions() for name in re.findall(r"\bsaga_\w+", text)}
    assert asked <= samples()
    shown = {each.question for each in CATALOGUE if any(name.startswith(each.name) for name in asked)}
    assert shown == {"working", "slow", "stuck", "needs me"}


def test_labels_of_rules_and_dashboard_are_those_of_the_metrics() -> None:
    """By which they select or sum; ``instance`` and ``job`` are the scrape's own."""
    known = {label for each in CATALOGUE for label in each.labels} | {"instance", "job", "le"}
    for text in expressions():
        grouped = ",".join(re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", text))
        selected = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", text)
        assert {name.strip() for name in grouped.split(",") if name.strip()} | set(selected) <= known, text


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ],
)
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    """With the rules, with what they say in stories of their own, and with the example of a configuration."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; Debian's package prometheus has it")
    ran = subprocess.run(
        ["promtool", *arguments], cwd=ALERTS.parent, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_page_is_as_the_catalogue() -> None:
    """``python -m tests.metrics_page`` writes its tables."""
    page = metrics_page.PAGE.read_text()
    assert metrics_page.filled(page) == page
    assert all(f"`{each.name}`" in page for each in CATALOGUE)
