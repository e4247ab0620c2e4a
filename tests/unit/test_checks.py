"""Every rule for how the parts of a definition fit: what breaks it, and what just does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from saga.definition import load_definition, parse_definition
from saga.errors import DefinitionInvalid, Problem
from saga.language.checks import check_children, not_yet_executed
from saga.language.model import Action, Compensation, SagaDefinition, Step

_CALL = {"url": "http://127.0.0.1:9101"}


def call(**more: Any) -> dict[str, Any]:
    """Return an action or compensation that is in order."""
    return {**_CALL, **more}


def step(name: str = "a", /, **more: Any) -> dict[str, Any]:
    """Return a step that is in order: an action that owes nothing."""
    return {"name": name, "action": call(), "compensation": "none", **more}


def late(name: str, /, **more: Any) -> dict[str, Any]:
    """Return a step for behind the pivot, where no compensation is given."""
    return {"name": name, "action": call(), **more}


def saga(*steps: Any, **more: Any) -> dict[str, Any]:
    """Return a definition with these steps, or with one that is in order."""
    return {"name": "example", "steps": list(steps) or [step()], **more}


def body(template: Any, **more: Any) -> dict[str, Any]:
    """Return a step whose action sends that body."""
    return step("b", action=call(body=template), **more)


def undo(**more: Any) -> dict[str, Any]:
    """Return a definition of one step with that compensation."""
    return saga(step(compensation=call(**more)))


def act(**more: Any) -> dict[str, Any]:
    """Return a definition of one step with that action."""
    return saga(step(action=call(**more)))


def problems(document: object, services: frozenset[str] | None = frozenset()) -> tuple[Problem, ...]:
    """Return everything that is said about a document, warnings included."""
    try:
        return parse_definition(document, services=services).warnings
    except DefinitionInvalid as invalid:
        return invalid.problems


def errors(document: object) -> dict[str, str]:
    """Return what is refused, by pointer."""
    return {each.pointer: each.detail for each in problems(document) if each.severity == "error"}


_SKIPPED = step("a", when="${input.wanted}")
_TOLERATED = step("a", on_refused="continue")
_USES_A = "${steps.a.output.id}"

RULES: Mapping[str, tuple[dict[str, Any], str, str, dict[str, Any]]] = {
    # rule: broken, pointer, words, just not broken
    "unknown field of the definition": (saga(colour=1), "/colour", "not a field", saga(description="x")),
    "unknown field of a step": (
        saga(step(wenn="${input.x}")),
        "/steps/0/wenn",
        "did you mean 'when'",
        saga(_SKIPPED),
    ),
    "unknown field of a call": (
        act(retrys=1),
        "/steps/0/action/retrys",
        "did you mean 'retry'",
        act(retry={}),
    ),
    "unknown field of a retry": (
        act(retry={"attempt": 1}),
        "/steps/0/action/retry/attempt",
        "did you mean 'attempts'",
        act(retry={"attempts": 1}),
    ),
    "unknown root": (
        saga(body("${inputs.x}")),
        "/steps/0/action/body",
        "did you mean 'input'",
        saga(body("${input.x}")),
    ),
    "step named as a root": (
        saga(step(), body("${a.output.x}")),
        "/steps/1/action/body",
        "steps.a.output",
        saga(step(), body(_USES_A)),
    ),
    "bare null": (
        saga(body("${input.x || null}")),
        "/steps/0/action/body",
        "backticks",
        saga(body("${input.x || `null`}")),
    ),
    "whole scope": (saga(body("${@}")), "/steps/0/action/body", "begin with", saga(body("${input}"))),
    "expression that cannot be parsed": (
        saga(body("${input.}")),
        "/steps/0/action/body",
        "not a JMESPath",
        saga(body("$${input.}")),
    ),
    "unknown step": (
        saga(step("alpha"), body("${steps.alhpa.output}")),
        "/steps/1/action/body",
        "did you mean 'alpha'",
        saga(step("alpha"), body("${steps.alpha.output}")),
    ),
    "all steps": (
        saga(step(), body("${keys(steps)}")),
        "/steps/1/action/body",
        "name the step",
        saga(step(), body(_USES_A)),
    ),
    "something of a step that is not its output": (
        saga(step(), body("${steps.a.status}")),
        "/steps/1/action/body",
        "its output only",
        saga(step(), body(_USES_A)),
    ),
    "unknown member of saga": (
        saga(body("${saga.name}")),
        "/steps/0/action/body",
        "id, started_at",
        saga(body("${saga.started_at}")),
    ),
    "unknown member of response": (
        saga(step(output="${response.code}")),
        "/steps/0/output",
        "status, headers, body",
        saga(step(output="${response.status}")),
    ),
    "header name in capitals": (
        saga(step(output='${response.headers."X-Id"}')),
        "/steps/0/output",
        "lower case",
        saga(step(output='${response.headers."x-id"}')),
    ),
    "member of the key": (
        saga(body("${key.id}")),
        "/steps/0/action/body",
        "no members",
        saga(body("${key}")),
    ),
    "step that is not upstream": (
        saga(step(), body(_USES_A, after=[])),
        "/steps/1/action/body",
        "not upstream",
        saga(step(), body(_USES_A)),
    ),
    "step that is downstream": (
        saga(body("${steps.c.output}"), step("c")),
        "/steps/0/action/body",
        "not upstream",
        saga(body("${steps.c.output}", after=["c"]), step("c", after=[])),
    ),
    "step that may be skipped": (
        saga(_SKIPPED, body(_USES_A)),
        "/steps/1/action/body",
        "may be skipped",
        saga(_SKIPPED, body("${steps.a.output.id || 'none'}")),
    ),
    "step skipped by another condition": (
        saga(_SKIPPED, body(_USES_A, when="${input.other}")),
        "/steps/1/action/body",
        "may be skipped",
        saga(_SKIPPED, body(_USES_A, when="${input.wanted}")),
    ),
    "skipped step in the saga's output": (
        saga(_SKIPPED, output=_USES_A),
        "/output",
        "may be skipped",
        saga(_SKIPPED, output="${steps.a.output.id || `null`}"),
    ),
    "skipped step in a condition": (
        saga(_SKIPPED, step("b", when=_USES_A)),
        "/steps/1/when",
        "may be skipped",
        saga(_SKIPPED, step("b", when="${steps.a.output.id || input.b}")),
    ),
    "step that may be refused and tolerated": (
        saga(_TOLERATED, body(_USES_A)),
        "/steps/1/action/body",
        "may be refused",
        saga(_TOLERATED, body("${steps.a.output.id || 'none'}")),
    ),
    "default on the wrong side": (
        saga(_SKIPPED, body("${input.x || steps.a.output.id}")),
        "/steps/1/action/body",
        "may be skipped",
        saga(_SKIPPED, body("${steps.a.output.id || input.x}")),
    ),
    "own output in the own action": (
        saga(step(action=call(body=_USES_A))),
        "/steps/0/action/body",
        "no output yet",
        saga(step(compensation=call(body="${steps.a.output.id || key}"))),
    ),
    "own output in the own condition": (
        saga(step(when=_USES_A)),
        "/steps/0/when",
        "no output yet",
        saga(step(when="${input.a}")),
    ),
    "circle": (
        saga(step("a", after=["b"]), step("b", after=["a"])),
        "/steps/0/after",
        "a after b after a",
        saga(step("a", after=["b"]), step("b", after=[])),
    ),
    "step after itself": (saga(step(after=["a"])), "/steps/0/after", "a after a", saga(step(after=[]))),
    "step after one that does not exist": (
        saga(step(after=["b"])),
        "/steps/0/after",
        "no step 'b'",
        saga(step(after=["b"]), step("b", after=[])),
    ),
    "two steps of one name": (
        saga(step(), step()),
        "/steps/1/name",
        "2 steps are named 'a'",
        saga(step(), step("b")),
    ),
    "name that is none": (
        saga(step("Reserve-1")),
        "/steps/0/name",
        "begin with a-z",
        saga(step("r" + "e" * 63)),
    ),
    "name that is too long": (saga(step("r" * 65)), "/steps/0/name", "64", saga(step("r" * 64))),
    "service without an address": (
        saga(step(action={"service": "hotels"})),
        "/steps/0/action/service",
        "SAGA_SERVICE_HOTELS",
        saga(step(action={"service": "hotels"}), services={"hotels": {"url": "http://h"}}),
    ),
    "call to nowhere": (
        saga(step(action={})),
        "/steps/0/action",
        "'service' or 'url'",
        saga(step(action=call())),
    ),
    "call to two places": (
        saga(step(action=call(service="h")), services={"h": {"url": "http://h"}}),
        "/steps/0/action/url",
        "one of the two",
        saga(step(action={"service": "h"}), services={"h": {"url": "http://h"}}),
    ),
    "missing compensation": (
        saga(late("a"), step("p", pivot=True)),
        "/steps/0",
        "how it is undone",
        saga(step("a"), step("p", pivot=True)),
    ),
    "missing compensation of the pivot": (
        saga(late("a", pivot=True)),
        "/steps/0",
        "how it is undone",
        saga(step(pivot=True)),
    ),
    "missing compensation of a worker": (
        saga({"name": "a", "worker": {"queue": "q"}}),
        "/steps/0",
        "how it is undone",
        saga({"name": "a", "worker": {"queue": "q"}, "compensation": {"worker": {"queue": "q"}}}),
    ),
    "missing compensation without a pivot": (saga(late("a")), "/steps/0", "how it is undone", saga(step())),
    "compensation behind the pivot": (
        saga(step("p", pivot=True), step("b", compensation=call())),
        "/steps/1/compensation",
        "past the pivot",
        saga(step("p", pivot=True), late("b")),
    ),
    "compensation of a wait": (
        saga({"name": "a", "wait": "1s", "compensation": call()}),
        "/steps/0/compensation",
        "changes nothing",
        saga({"name": "a", "wait": "1s"}),
    ),
    "compensation of a signal": (
        saga({"name": "a", "signal": {"name": "s"}, "compensation": call()}),
        "/steps/0/compensation",
        "changes nothing",
        saga({"name": "a", "signal": {"name": "s"}, "compensation": "none"}),
    ),
    "compensation of a child saga": (
        saga({"name": "a", "saga": {"name": "child"}, "compensation": call()}),
        "/steps/0/compensation",
        "undoes itself",
        saga({"name": "a", "saga": {"name": "child"}, "compensation": "none"}),
    ),
    "two pivots": (
        saga(step("a", pivot=True), late("b", pivot=True)),
        "/steps/1/pivot",
        "one pivot",
        saga(step("a", pivot=True), late("b")),
    ),
    "step beside the pivot": (
        saga(step("p", pivot=True), step("b", after=[])),
        "/steps/1",
        "beside the pivot",
        saga(step("p", pivot=True, after=["b"]), step("b", after=[])),
    ),
    "pivot that waits": (
        saga({"name": "a", "wait": "1s", "pivot": True}),
        "/steps/0/pivot",
        "cannot be the pivot",
        saga({"name": "a", "wait": "1s"}, step("p", pivot=True)),
    ),
    "pivot that is a signal": (
        saga({"name": "a", "signal": {"name": "s"}, "pivot": True}),
        "/steps/0/pivot",
        "cannot be the pivot",
        saga({"name": "a", "signal": {"name": "s"}}, step("p", pivot=True)),
    ),
    "pivot that is a no": (
        saga({"name": "a", "fail": "no", "pivot": True}),
        "/steps/0/pivot",
        "cannot be the pivot",
        saga({"name": "a", "fail": "no"}, step("p", pivot=True)),
    ),
    "pivot for each": (
        saga(step(pivot=True, for_each="${input.x}")),
        "/steps/0/pivot",
        "for_each",
        saga(step(for_each="${input.x}"), step("p", pivot=True)),
    ),
    "pivot that is tolerated": (
        saga(step(pivot=True, on_refused="continue")),
        "/steps/0/pivot",
        "on_refused",
        saga(step(pivot=True, on_refused="compensate")),
    ),
    "endless retries without delay": (
        act(retry={"attempts": "unlimited", "initial": "0s"}),
        "/steps/0/action/retry/initial",
        "longer than 0s",
        act(retry={"attempts": "unlimited", "initial": "1ms"}),
    ),
    "retries of a compensation without delay": (
        undo(retry={"initial": "0s"}),
        "/steps/0/compensation/retry/initial",
        "longer than 0s",
        undo(retry={"attempts": 2}),
    ),
    "retries behind the pivot without delay": (
        saga(step(pivot=True), late("b", action=call(retry={"initial": "0s"}))),
        "/steps/1/action/retry/initial",
        "longer than 0s",
        act(retry={"initial": "0s"}),
    ),
    "longest wait below the first": (
        act(retry={"initial": "20s"}),
        "/steps/0/action/retry/initial",
        "('max', 10s) is shorter than the first ('initial', 20s): raise it",
        act(retry={"initial": "20s", "max": "20s"}),
    ),
    "no attempt at all": (
        act(retry={"attempts": 0}),
        "/steps/0/action/retry/attempts",
        "must be 1 or more, not 0",
        act(retry={"attempts": 1}),
    ),
    "shrinking waits": (
        act(retry={"factor": 0.5}),
        "/steps/0/action/retry/factor",
        "must be 1 or more, not 0.5",
        act(retry={"factor": 1}),
    ),
    "no time for retries": (
        act(retry={"within": "0s"}),
        "/steps/0/action/retry/within",
        "longer than 0s",
        act(retry={"within": "1ms"}),
    ),
    "no time for an attempt": (
        act(timeout="0s"),
        "/steps/0/action/timeout",
        "longer than 0s",
        act(timeout="1ms"),
    ),
    "an attempt of days": (act(timeout="25h"), "/steps/0/action/timeout", "at most 24h", act(timeout="24h")),
    "no time to be pending": (
        act(pending={"timeout": "0s"}),
        "/steps/0/action/pending/timeout",
        "longer than 0s",
        act(pending={"timeout": "1s"}),
    ),
    "questions without a pause": (
        act(pending={"poll": "9ms"}),
        "/steps/0/action/pending/poll",
        "10ms or longer",
        act(pending={"poll": "10ms"}),
    ),
    "no time for the saga": (saga(timeout="0s"), "/timeout", "longer than 0s", saga(timeout="1s")),
    "late at once": (saga(due="0s"), "/due", "longer than 0s", saga(due="1s")),
    "step late at once": (saga(step(due="0s")), "/steps/0/due", "longer than 0s", saga(step(due="1s"))),
    "no time for a signal": (
        saga({"name": "a", "signal": {"name": "s", "timeout": "0s"}}),
        "/steps/0/signal/timeout",
        "longer than 0s",
        saga({"name": "a", "signal": {"name": "s", "timeout": "1s"}}),
    ),
    "key forgotten at once": (
        saga(services={"h": {"url": "http://h", "key_lifetime": "0s"}}),
        "/services/h/key_lifetime",
        "longer than 0s",
        saga(services={"h": {"url": "http://h", "key_lifetime": "24h"}}),
    ),
    "duration without a unit": (saga(timeout=30), "/timeout", "did you mean 30s", saga(timeout="30s")),
    "duration that is none": (saga(timeout="soon"), "/timeout", "250ms, 5s", saga(timeout="7d")),
    "duration without end": (saga(timeout="3651d"), "/timeout", "3650d", saga(timeout="3650d")),
    "header of the coordinator": (
        act(headers={"Idempotency-Key": "x"}),
        "/steps/0/action/headers/Idempotency-Key",
        "set by the coordinator",
        act(headers={"X-Idempotency-Key": "x"}),
    ),
    "header of the coordinator's family": (
        act(headers={"sAgA-anything": "x"}),
        "/steps/0/action/headers/sAgA-anything",
        "set by the coordinator",
        act(headers={"Sagas": "x"}),
    ),
    "content header": (
        act(headers={"Content-Type": "x"}),
        "/steps/0/action/headers/Content-Type",
        "set by the coordinator",
        act(headers={"Accept": "x"}),
    ),
    "trace header": (
        act(headers={"traceparent": "x"}),
        "/steps/0/action/headers/traceparent",
        "set by the coordinator",
        act(headers={"trace": "x"}),
    ),
    "host header": (
        act(headers={"Host": "x"}),
        "/steps/0/action/headers/Host",
        "set by the coordinator",
        act(headers={"X-Host": "x"}),
    ),
    "encoding header": (
        act(headers={"Transfer-Encoding": "x"}),
        "/steps/0/action/headers/Transfer-Encoding",
        "set by the coordinator",
        act(headers={"TE": "trailers"}),
    ),
    "state header": (
        act(headers={"TraceState": "x"}),
        "/steps/0/action/headers/TraceState",
        "set by the coordinator",
        act(headers={}),
    ),
    "header name that is none": (
        act(headers={"X Channel": "x"}),
        "/steps/0/action/headers/X Channel",
        "no header name",
        act(headers={"X-Ch.": "x"}),
    ),
    "header twice": (
        act(headers={"X-A": "1", "x-a": "2"}),
        "/steps/0/action/headers/x-a",
        "twice",
        act(headers={"X-A": "1", "X-B": "2"}),
    ),
    "header with a line break": (
        act(headers={"X-A": "1\r\nX-B: 2"}),
        "/steps/0/action/headers/X-A",
        "a line break",
        act(headers={"X-A": "1\t2"}),
    ),
    "question mark in a path": (
        act(path="/a?b=1"),
        "/steps/0/action/path",
        "'query'",
        act(path="/a%3Fb", query={"b": 1}),
    ),
    "question mark outside the expression": (
        act(path="/${input.a[?x]}?"),
        "/steps/0/action/path",
        "'query'",
        act(path="/${input.a[?x][0]}"),
    ),
    "hash in a path": (act(path="/a#b"), "/steps/0/action/path", "%23", act(path="/a%23b")),
    "path without a slash": (act(path="a"), "/steps/0/action/path", "begins with '/'", act(path="/a")),
    "path that begins with a value": (
        act(path="${input.path}"),
        "/steps/0/action/path",
        "begins with '/'",
        act(path="/${input.path}"),
    ),
    "path that climbs": (act(path="/a/../b"), "/steps/0/action/path", "'..'", act(path="/a/..b/b")),
    "path that climbs in disguise": (
        act(path="/a/%2e%2E"),
        "/steps/0/action/path",
        "'..'",
        act(path="/a/%2e%2E."),
    ),
    "list as a parameter": (
        act(query={"a": [1]}),
        "/steps/0/action/query/a",
        "text, a number",
        act(query={"a": "${input.a}", "b": True}),
    ),
    "relative address": (saga(step(action={"url": "/x"})), "/steps/0/action/url", "no absolute", act()),
    "address of another kind": (
        saga(step(action={"url": "file:///etc/passwd"})),
        "/steps/0/action/url",
        "no absolute",
        saga(step(action={"url": "https://[::1]:9/x"})),
    ),
    "address with a password": (
        saga(step(action={"url": "http://u:p@h"})),
        "/steps/0/action/url",
        "no user or password",
        saga(step(action={"url": "http://h/@"})),
    ),
    "address from input": (
        saga(step(action={"url": "http://${input.host}"})),
        "/steps/0/action/url",
        "input never chooses the host",
        act(path="/${input.host}"),
    ),
    "address with a query": (
        saga(step(action={"url": "http://h/?a=1"})),
        "/steps/0/action/url",
        "'query'",
        act(query={"a": "1"}),
    ),
    "address with a wrong port": (
        saga(step(action={"url": "http://h:99999"})),
        "/steps/0/action/url",
        "no address",
        saga(step(action={"url": "http://h:65535"})),
    ),
    "service with a relative address": (
        saga(services={"h": {"url": "h:80"}}),
        "/services/h/url",
        "no absolute",
        saga(services={"h": {"url": "http://h:80"}}),
    ),
    "service with a password": (
        saga(services={"h": {"url": "http://u@h"}}),
        "/services/h/url",
        "no user",
        saga(services={"h": {"url": "http://h"}}),
    ),
    "service that is misnamed": (
        saga(services={"H": {"url": "http://h"}}),
        "/services/H",
        "begin with a-z",
        saga(services={"h": {"url": "http://h"}}),
    ),
    "status that is none": (
        act(on_status={"600": "refused"}),
        "/steps/0/action/on_status/600",
        "neither",
        act(on_status={"599": "refused"}),
    ),
    "status that is never final": (
        act(on_status={"1xx": "refused"}),
        "/steps/0/action/on_status/1xx",
        "neither",
        act(on_status={"2XX": "refused"}),
    ),
    "verdict that is none": (
        act(on_status={"404": "ok"}),
        "/steps/0/action/on_status/404",
        "'ok' is not taken here: write one of 'succeeded'",
        act(on_status={"404": "succeeded"}),
    ),
    "method that is none": (
        act(method="TRACE"),
        "/steps/0/action/method",
        "'TRACE' is not",
        act(method="patch"),
    ),
    "condition that always holds": (
        saga(step(when="input.hotel")),
        "/steps/0/when",
        "${…}",
        saga(step(when="${input.hotel}")),
    ),
    "refusal that always holds": (
        act(refused_when="true"),
        "/steps/0/action/refused_when",
        "${…}",
        act(refused_when="${response.body.no}"),
    ),
    "signal that always refuses": (
        saga({"name": "a", "signal": {"name": "s", "refused_when": "yes"}}),
        "/steps/0/signal/refused_when",
        "${…}",
        saga({"name": "a", "signal": {"name": "s", "refused_when": "${response.body.no}"}}),
    ),
    "for_each of a text": (
        saga(step(for_each="x${input.a}")),
        "/steps/0/for_each",
        "must be one",
        saga(step(for_each="${input.a}")),
    ),
    "max_parallel without for_each": (
        saga(step(max_parallel=2)),
        "/steps/0/max_parallel",
        "for_each",
        saga(step(max_parallel=2, for_each="${input.a}")),
    ),
    "wait for nothing known": (
        saga({"name": "a", "wait": "tomorrow"}),
        "/steps/0/wait",
        "a duration",
        saga({"name": "a", "wait": "30m"}),
    ),
    "wait without an offset": (
        saga({"name": "a", "wait": "2026-03-01T09:30:00"}),
        "/steps/0/wait",
        "a time",
        saga({"name": "a", "wait": "2026-03-01T09:30:00+01:00"}),
    ),
    "wait for a day that is none": (
        saga({"name": "a", "wait": "2026-02-30T09:30:00Z"}),
        "/steps/0/wait",
        "a time",
        saga({"name": "a", "wait": "${input.when}"}),
    ),
    "no without a reason": (
        saga({"name": "a", "fail": " "}),
        "/steps/0/fail",
        "say why",
        saga({"name": "a", "fail": "sold out"}),
    ),
    "step that does nothing": (
        saga({"name": "a"}),
        "/steps/0",
        "does nothing",
        saga({"name": "a", "wait": "1s"}),
    ),
    "step that is two things": (
        saga(step(wait="1s")),
        "/steps/0/wait",
        "two steps",
        saga(step(), {"name": "b", "wait": "1s"}),
    ),
    "no steps": ({"name": "example", "steps": []}, "/steps", "at least one", saga(step())),
    "too many steps": (
        saga(*(step(f"s{at}") for at in range(201))),
        "/steps",
        "at most 200",
        saga(*(step(f"s{at}") for at in range(200))),
    ),
    "response in an action": (
        saga(body("${response.body}")),
        "/steps/0/action/body",
        "'output' and in 'refused_when'",
        saga(step(output="${response.body}", action=call(refused_when="${response.body.no}"))),
    ),
    "secret in a body": (
        saga(body("${secret.token}")),
        "/steps/0/action/body",
        "only in headers",
        act(headers={"X-T": "B ${secret.token}"}),
    ),
    "secret in a path": (
        act(path="/${secret.token}"),
        "/steps/0/action/path",
        "only in headers",
        act(headers={"X-T": "${secret.token}"}),
    ),
    "secret inside an expression": (
        act(headers={"X-T": "${secret.token || 'x'}"}),
        "/steps/0/action/headers/X-T",
        "stands alone",
        undo(headers={"X-T": "${secret.token}"}),
    ),
    "all secrets": (
        act(headers={"X-T": "${secret}"}),
        "/steps/0/action/headers/X-T",
        "stands alone",
        act(headers={"X-T": "${secret.token}"}),
    ),
    "item without for_each": (
        saga(body("${item.id}")),
        "/steps/0/action/body",
        "with for_each",
        saga(body("${item.id}", for_each="${input.x}")),
    ),
    "index without for_each": (
        saga(body("${index}")),
        "/steps/0/action/body",
        "with for_each",
        saga(body("${index}", for_each="${input.x}")),
    ),
    "item in a condition": (
        saga(step(when="${item.x}", for_each="${input.x}")),
        "/steps/0/when",
        "not in its 'when'",
        saga(step(when="${input.x}", for_each="${input.x}", compensation=call(path="/${item.id}"))),
    ),
    "key in a condition": (
        saga(step(when="${key}")),
        "/steps/0/when",
        "only inside a step",
        undo(path="/${key}"),
    ),
    "key in the saga's output": (
        saga(output="${key}"),
        "/output",
        "only inside a step",
        saga(step(output={"id": "${key}"})),
    ),
    "steps in labels": (
        saga(labels={"x": _USES_A}),
        "/labels/x",
        "before any step",
        saga(labels={"x": "${input.x} ${saga.id}"}),
    ),
    "list as a label": (
        saga(labels={"x": [1]}),
        "/labels/x",
        "text, a number",
        saga(labels={"x": True, "y": 1.5}),
    ),
    "label that is misnamed": (
        saga(labels={"X": "1"}),
        "/labels/X",
        "begin with a-z",
        saga(labels={"x": "1"}),
    ),
    "sensitive that is no pointer": (
        saga(sensitive=["card"]),
        "/sensitive/0",
        "no JSON pointer",
        saga(sensitive=["/card", "", "/a~1b"]),
    ),
    "sensitive output that is no pointer": (
        saga(step(sensitive=["/ok", "/a~2"])),
        "/steps/0/sensitive/1",
        "no JSON pointer",
        saga(step(sensitive=["/ok"])),
    ),
    "input that is no schema": (
        saga(input={"type": "text"}),
        "/input/type",
        "no JSON Schema",
        saga(input={"type": "string"}),
    ),
    "schema from elsewhere": (
        saga(input={"$ref": "http://127.0.0.1/schema"}),
        "/input",
        "cannot be used",
        saga(input={"$ref": "#/$defs/x", "$defs": {"x": {"type": "object"}}}),
    ),
    "schema from a file": (
        saga(input={"$ref": "file:///etc/passwd"}),
        "/input",
        "cannot be used",
        saga(input={}),
    ),
    "schema of another dialect": (
        saga(input={"$schema": "http://json-schema.org/draft-07/schema#"}),
        "/input/$schema",
        "2020-12",
        saga(input={"$schema": "https://json-schema.org/draft/2020-12/schema"}),
    ),
    "schema with a pattern that is none": (
        saga(input={"properties": {"a": {"pattern": "("}}}),
        "/input/properties/a/pattern",
        "regular expression",
        saga(input={"properties": {"a": {"pattern": "()"}}}),
    ),
    "version of a child below one": (
        saga({"name": "a", "saga": {"name": "c", "version": 0}}),
        "/steps/0/saga/version",
        "must be 1 or more, not 0",
        saga({"name": "a", "saga": {"name": "c", "version": 1}}),
    ),
    "queue that is misnamed": (
        saga({"name": "a", "worker": {"queue": "Q"}, "compensation": "none"}),
        "/steps/0/worker/queue",
        "begin with a-z",
        saga({"name": "a", "worker": {"queue": "q"}, "compensation": "none"}),
    ),
    "compensation that says nothing": (
        saga(step(compensation={})),
        "/steps/0/compensation",
        "add 'path'",
        saga(step(compensation={"path": "/r"})),
    ),
    "compensation that does not say where": (
        saga(step(compensation={"method": "DELETE"})),
        "/steps/0/compensation",
        "add 'path'",
        saga(step(compensation={"method": "DELETE", "path": ""})),
    ),
    "bad address that a compensation inherits": (
        saga(step(action={"url": "h:80"}, compensation={"path": "/r"})),
        "/steps/0/action/url",
        "no absolute",
        saga(step(compensation={"path": "/r"})),
    ),
    "no time for retries in the defaults": (
        saga(step(), step("b", compensation=call()), defaults={"action": {"retry": {"within": "0s"}}}),
        "/defaults/action/retry/within",
        "longer than 0s",
        saga(step(), defaults={"action": {"retry": {"within": "1s"}}}),
    ),
    "no time for retries in the defaults of compensations": (
        saga(
            step(pivot=True, compensation=call()),
            late("b"),
            defaults={"compensation": {"retry": {"within": "0s"}}},
        ),
        "/defaults/compensation/retry/within",
        "longer than 0s",
        saga(step(pivot=True), late("b"), defaults={"action": {"retry": {"within": "1s"}}}),
    ),
    "no time for an attempt in the defaults": (
        saga(step(pivot=True), late("b"), defaults={"action": {"timeout": "0s"}}),
        "/defaults/action/timeout",
        "longer than 0s",
        saga(step(), defaults={"action": {"timeout": "1s"}}),
    ),
    "no time for a worker's attempt in the defaults": (
        saga(
            {"name": "a", "worker": {"queue": "q"}, "compensation": {"worker": {"queue": "q"}}},
            defaults={"compensation": {"timeout": "0s"}},
        ),
        "/defaults/compensation/timeout",
        "longer than 0s",
        saga({"name": "a", "worker": {"queue": "q"}, "compensation": "none"}),
    ),
    "long first wait in the defaults": (
        saga(step(), defaults={"action": {"retry": {"initial": "1m"}}}),
        "/defaults/action/retry/initial",
        "shorter than the first",
        saga(step(), defaults={"action": {"retry": {"initial": "1m", "max": "1m"}}}),
    ),
    "compensation of no kind": (
        saga(step(compensation="nothing")),
        "/steps/0/compensation",
        "call, a worker, or none",
        saga(step()),
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_what_breaks_a_rule_is_refused(rule: str) -> None:
    """The problem stands where the mistake is, and says how to mend it."""
    broken, at, words, _sound = RULES[rule]
    found = errors(broken)
    assert at in found, found
    assert words in found[at]


@pytest.mark.parametrize("rule", RULES)
def test_what_just_does_not_break_it_is_taken(rule: str) -> None:
    """No rule refuses more than it has to."""
    assert errors(RULES[rule][3]) == {}


@pytest.mark.parametrize("rule", RULES)
def test_nothing_else_is_said_of_a_mistake(rule: str) -> None:
    """One mistake is one problem: what follows from it is not listed as well."""
    at = RULES[rule][1]
    assert {pointer for pointer in errors(RULES[rule][0]) if not pointer.startswith(at)} == set()


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (act(method="FETCH"), "'FETCH' is not taken here: write one of 'GET', 'HEAD', 'POST'"),
        (act(on_status={"402": "refuse"}), "'refuse' is not taken here: did you mean 'refused'? Taken are"),
        (act(on_status={"404": None}), "null is not taken here"),
        (act(accept="xml"), "'xml' is not taken here: write one of 'json' or 'text'"),
        (act(headers={"X-A": 1}), "'X-A' must be text, not 1: put it in quotes"),
        (act(headers=[]), "must be a mapping of names to values, not a list"),
        (act(path=5), "must be a path, as in /reservations, not 5"),
        (act(path="/a?b"), "'/a?b' holds a '?'"),
        (act(retry={"attempts": "many"}), "not 'many': write a number, or unlimited"),
        (act(retry={"attempts": "5"}), "not '5': write it without quotes"),
        (act(retry=5), "must be a mapping of names to values, not 5"),
        (act(timeout="2d"), "at most 24h, not 2d"),
        (act(timeout=True), "true is no duration: write one as in"),
        (act(pending={"poll": "1ms"}), "10ms or longer, not 1ms"),
        (act(query={"a": {"b": 1}}), "not a mapping"),
        (act(on_status={"700": "refused"}), "'700' is neither"),
        (act(refused_when="true"), "'true' is no condition"),
        (saga(step(pivot="true")), "must be true or false, not 'true': write it without quotes"),
        (saga(step(), step("b", after="a")), "must be a list, not 'a': write [a]"),
        (
            saga(step("alpha"), step("b", after=["alhpa"])),
            "no step 'alhpa' to wait for: did you mean 'alpha'?",
        ),
        (saga(step(on_refused="stop")), "'stop' is not taken here: write one of 'compensate' or 'continue'"),
        (saga(step(compensation=["none"])), "a list is no compensation"),
        (saga(step(max_parallel=1001, for_each="${input.x}")), "1000 or less, not 1001"),
        (saga("reserve"), "item 0 must be a mapping of names to values, not 'reserve'"),
        (saga({"name": "a", "wait": 5}), "must be a duration (30m), a time"),
        (saga(name="Bad-Name"), "'Bad-Name' is no name"),
        (saga(name="x" * 100), "'" + "x" * 59 + "…' is no name"),
        (saga(labels={"x": [1]}), "giving one, not a list"),
        (saga(description=5), "must be text, not 5: put it in quotes"),
        (saga(defaults={"compensation": "none"}), "must be a mapping of names to values, not 'none'"),
    ],
)
def test_a_problem_names_what_stands_there_and_what_could(document: dict[str, Any], words: str) -> None:
    """The pointer tells the member; the message has to tell the value."""
    (detail,) = errors(document).values()
    assert words in detail


def test_a_call_to_a_bare_address_is_warned_of() -> None:
    """It is hardly ever meant; where it is, it can be written."""
    services = {"h": {"url": "http://h/api"}}
    (warning,) = problems(saga(step(action={"service": "h"}), services=services))
    assert (warning.pointer, warning.severity) == ("/steps/0/action", "warning")
    assert "add 'path'" in warning.detail
    assert problems(saga(step(action={"service": "h", "path": ""}), services=services)) == ()


def test_a_definition_made_in_python_is_told_about_as_it_was_made() -> None:
    """A default that it left out is not taken for something it says."""
    made = SagaDefinition(
        name="x", steps=(Step(name="a", action=Action(url="http://a"), compensation=Compensation()),)
    )
    with pytest.raises(DefinitionInvalid, match="/steps/0/compensation: says nowhere"):
        parse_definition(made)


def test_a_problem_stands_at_a_pointer_of_the_document() -> None:
    """Also where the step that gives rise to it says nothing itself."""
    circle = saga(step("a", after=["b"]), step("b"))
    assert set(errors(circle)) == {"/steps/0/after"}
    turned = saga(step("a", after=["c"]), step("c", after=["b"]), step("b"))
    document: Any = turned
    for pointer in errors(turned):
        for part in pointer.split("/")[1:]:
            document = document[int(part) if part.isdecimal() else part]


def test_five_mistakes_are_five_problems() -> None:
    """Nobody has to mend one problem to see the next."""
    document = saga(
        step("a", action=call(path="x", colour="red")),
        step("b", after=["nobody"], action={"service": "hotels", "timeout": 5}),
        step("b", action=call(body="${steps.c.output}")),
        name="No Name",
    )
    assert set(errors(document)) == {
        "/name",
        "/steps/0/action/path",
        "/steps/0/action/colour",
        "/steps/1/after",
        "/steps/1/action/service",
        "/steps/1/action/timeout",
        "/steps/2/name",
        "/steps/2/action/body",
    }


@pytest.mark.parametrize("name", ["TE", "Connection", "accept-encoding", "Proxy-Authorization"])
def test_a_header_that_is_not_sent_is_warned_of(name: str) -> None:
    """What is about the connection would be dropped without a word."""
    services = {"h": {"url": "http://h/api"}}
    action = {"service": "h", "path": "/", "headers": {name: "x"}}
    (warning,) = problems(saga(step(action=action), services=services))

    assert (warning.pointer, warning.severity) == (f"/steps/0/action/headers/{name}", "warning")
    assert "is not sent" in warning.detail


def test_a_service_is_only_a_warning_without_a_server() -> None:
    """Nobody knows the server's settings then; with one, its settings count."""
    document = saga(step(action={"service": "hotels", "path": "/r"}))
    (warning,) = problems(document, services=None)
    assert (warning.pointer, warning.severity) == ("/steps/0/action/service", "warning")
    assert problems(document, services=frozenset({"hotels"})) == ()


def test_an_unaddressed_service_is_told_once() -> None:
    """Its second call says nothing new."""
    call_it = {"service": "hotels"}
    assert len(errors(saga(step(action=call_it, compensation=call_it), step("b", action=call_it)))) == 1


@pytest.mark.parametrize(
    ("compensation", "warnings"),
    [
        (call(path="/r/${steps.a.output.id}"), ["/steps/0/compensation/path"]),
        (call(path="/r/${key}", body="${steps.a.output.id}"), ["/steps/0/compensation/body"]),
        (call(path="/r/${key}"), []),
        (call(path="/r/${steps.a.output.id || key}"), []),
        ({"worker": {"queue": "q", "input": "${steps.a.output}"}}, ["/steps/0/compensation/worker/input"]),
        ({"worker": {"queue": "q", "input": "${key}"}}, []),
    ],
)
def test_a_compensation_that_needs_the_answer_is_warned_of(compensation: Any, warnings: list[str]) -> None:
    """The action's answer may have been lost, so it is better addressed by the key."""
    found = problems(saga(step("a", compensation=compensation)))
    assert warnings == [each.pointer for each in found if each.severity == "warning"]
    assert all("${key}" in each.detail for each in found)


def test_a_compensation_may_use_what_is_upstream() -> None:
    """Its action ran, so all that is upstream of it had settled."""
    sound = saga(step("a"), step("b", compensation=call(body=_USES_A)))
    assert problems(sound) == ()
    early = saga(step("a", compensation=call(body="${steps.b.output}")), step("b"))
    assert "/steps/0/compensation/body" in errors(early)


def test_warnings_do_not_hide_errors() -> None:
    """Both are told."""
    document = saga(step(compensation=call(path="/${steps.a.output.id}")), colour=1)
    assert [each.severity for each in problems(document)] == ["error", "warning"]


# --------------------------------------------------------------------------- other definitions


def parsed(document: object) -> SagaDefinition:
    """Return the definition of a document that is in order."""
    return parse_definition(document).definition


_CHILD = {"name": "a", "saga": {"name": "child", "version": 2}}
_PLAIN = parsed(saga(name="child"))
_PIVOTED = parsed(saga(step(pivot=True), name="child"))


@pytest.mark.parametrize(
    ("parent", "child", "words"),
    [
        (saga(_CHILD), None, "no definition 'child' in version 2"),
        (saga(_CHILD), _PLAIN, None),
        (saga(_CHILD), _PIVOTED, "has a pivot"),
        (saga(_CHILD, step("p", pivot=True)), _PIVOTED, "has a pivot"),
        (saga(_CHILD, step("p", pivot=True)), _PLAIN, None),
        (saga({**_CHILD, "pivot": True}), _PIVOTED, None),
        (saga(step("p", pivot=True), _CHILD), _PIVOTED, None),
    ],
)
def test_a_child_with_a_pivot_stands_at_or_behind_its_parents(
    parent: dict[str, Any], child: SagaDefinition | None, words: str | None
) -> None:
    """Before it, the child could not be undone when the parent goes backward."""
    found = check_children(parsed(parent), lambda _name, _version: child)
    assert [each.pointer.rpartition("/")[2] for each in found] == ([] if words is None else ["saga"])
    assert all(words in each.detail for each in found if words is not None)


def test_the_pinned_version_of_a_child_is_looked_up() -> None:
    """Or the latest, when none is pinned yet."""
    asked: list[tuple[str, int | None]] = []

    def lookup(name: str, version: int | None) -> SagaDefinition:
        asked.append((name, version))
        return _PLAIN

    check_children(parsed(saga(_CHILD, {"name": "b", "saga": {"name": "child"}})), lookup)
    assert asked == [("child", 2), ("child", None)]


def test_what_is_not_executed_yet_is_told() -> None:
    """Each place that this release understands but does not run."""
    definition = parsed(
        saga(
            step("a"),
            {"name": "b", "wait": "1s"},
            {"name": "c", "signal": {"name": "s"}},
            {"name": "d", "saga": {"name": "child"}},
            {"name": "e", "worker": {"queue": "q"}, "compensation": {"worker": {"queue": "q"}}},
            {"name": "f", "fail": "no"},
            step("g", for_each="${input.x}"),
        )
    )
    assert [each.pointer for each in not_yet_executed(definition)] == [
        "/steps/1/wait",
        "/steps/2/signal",
        "/steps/3/saga",
        "/steps/4/worker",
        "/steps/4/compensation",
        "/steps/5/fail",
        "/steps/6/for_each",
    ]
    assert not_yet_executed(parsed(saga())) == ()


def test_a_stored_definition_is_loaded_without_being_judged() -> None:
    """What an earlier release accepted has to run on."""
    stored = {**parsed(saga()).document(), "timeout": "0s"}
    assert load_definition(stored).timeout == 0
    odd: tuple[object, ...] = ({**stored, "future": 1}, [], None)
    for unknown in odd:
        with pytest.raises(DefinitionInvalid):
            load_definition(unknown)


@pytest.mark.parametrize("make", [lambda deep: [deep], lambda deep: {"a": deep}])
def test_a_document_made_in_python_may_not_be_deep(make: Callable[[Any], Any]) -> None:
    """However deep it is, it is refused in words."""
    deep: Any = 1
    for _ in range(10_000):
        deep = make(deep)
    assert "nested deeper" in next(iter(errors(saga(body(deep))).values()))


def test_a_document_made_in_python_may_not_be_large() -> None:
    """Neither in bytes nor in values."""
    assert "larger than" in errors(saga(body("x" * 1_048_577)))[""]
    assert "more than 50,000 values" in next(iter(errors(saga(body([1] * 50_001))).values()))


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), (1,), b"x", {"x"}, "\ud800", {1: 2}, {"\ud800": 1}]
)
def test_what_is_no_json_is_no_document(value: object) -> None:
    """It could not be stored, or not be sent."""
    assert list(errors(saga(body([value])))) == ["/steps/0/action/body/0"]


def test_a_document_with_thousands_of_problems_is_answered_soon() -> None:
    """The first hundred of them are enough to begin with."""
    unknown = dict.fromkeys(f"colour{at}" for at in range(1_000))
    assert len(errors(saga(step(**unknown)))) == 100
    wrong = saga(*(step(f"s{n}", action=call(body=[f"${{steps.x{n}}}"] * 10)) for n in range(50)))
    assert len(problems(wrong)) == 100


def test_a_definition_has_so_many_expressions_at_most() -> None:
    """Each of them takes its time to be parsed."""
    assert "at most 5,000 expressions" in errors(saga(body(["${key}"] * 5_001)))[""]
    assert errors(saga(body(["${key}"] * 5_000))) == {}


def test_a_number_may_not_be_endless() -> None:
    """Longer ones than Python converts in reasonable time are refused, shorter ones kept."""
    assert list(errors(saga(body([10**4300])))) == ["/steps/0/action/body/0"]
    assert parsed(saga(body([10**4300 - 1]))).steps[0].action is not None


@pytest.mark.parametrize(
    "document", [None, [], "text", 5, {}, {"steps": 5}, {"name": 5, "steps": [None, 5, {}]}]
)
def test_no_document_is_too_odd(document: object) -> None:
    """Whatever it is, it is refused in words."""
    assert errors(document)
