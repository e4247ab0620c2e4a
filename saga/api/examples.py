"""Examples in the API's description: one story, of an order whose parcel is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_DEFINITION: Final = {
    "name": "order",
    "services": {
        "stock": {"url": "http://127.0.0.1:9201"},
        "bank": {"url": "http://127.0.0.1:9202"},
        "post": {"url": "http://127.0.0.1:9203"},
    },
    "input": {"type": "object", "required": ["sku", "amount"]},
    "steps": [
        {
            "name": "reserve",
            "action": {
                "service": "stock",
                "path": "/reservations",
                "body": {"id": "${key}", "sku": "${input.sku}"},
            },
            "compensation": {"method": "DELETE", "path": "/reservations/${key}"},
        },
        {
            "name": "pay",
            "pivot": True,
            "action": {
                "service": "bank",
                "path": "/charges",
                "body": {"id": "${key}", "amount": "${input.amount}"},
                "on_status": {"402": "refused"},
            },
            "compensation": {"path": "/charges/${key}/refund"},
        },
        {
            "name": "ship",
            "action": {
                "service": "post",
                "path": "/parcels",
                "body": {"reservation": "${steps.reserve.output.id}"},
            },
        },
    ],
}
_INPUT: Final = {"sku": "tea", "amount": 12}
_ID: Final = "order-17"
_BEGAN: Final = "2026-03-01T09:30:00.000Z"
_ENDED: Final = "2026-03-01T09:30:00.120Z"


def _step(name: str, status: str, attempts: int, output: Any, **more: Any) -> dict[str, Any]:
    over = {"started_at": _BEGAN, "ended_at": _ENDED} if attempts else {"started_at": None, "ended_at": None}
    made = {"name": name, "status": status, "attempts": attempts, "output": output, "error": None}
    return made | over | {"next_attempt_at": None, "compensation": None} | more


_SUMMARY: Final = {
    "id": _ID,
    "definition": {"name": "order", "version": 1},
    "status": "completed",
    "direction": "forward",
    "late": False,
    "progress": {"done": 3, "total": 3},
    "error": None,
    "labels": {},
    "started_at": _BEGAN,
    "updated_at": _ENDED,
    "ended_at": _ENDED,
    "owner": None,
    "fence": 1,
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "parent": None,
}
_SAGA: Final = _SUMMARY | {
    "input": _INPUT,
    "output": None,
    "steps": [
        _step("reserve", "succeeded", 1, {"id": f"{_ID}:reserve"}),
        _step("pay", "succeeded", 1, {"receipt": "r-1"}),
        _step("ship", "succeeded", 1, {"parcel": "p-1"}),
    ],
    "next_attempt_at": None,
}
_DECLINED: Final = "answered 402 Payment Required, which on_status takes as refused"
_UNDONE: Final = {"status": "undone", "attempts": 1, "error": None, "started_at": _BEGAN, "ended_at": _ENDED}
_COMPENSATED: Final = _SAGA | {
    "status": "compensated",
    "direction": "backward",
    "progress": {"done": 1, "total": 1},
    "error": {"step": "pay", "kind": "refused", "detail": _DECLINED},
    "steps": [
        _step("reserve", "succeeded", 1, {"id": f"{_ID}:reserve"}, compensation=_UNDONE),
        _step("pay", "refused", 1, None, error={"kind": "refused", "detail": _DECLINED}),
        _step("ship", "pending", 0, None),
    ],
}
_ROW: Final = {
    "name": "order",
    "version": 1,
    "description": None,
    "created_at": _BEGAN,
    "deleted": False,
}

#: By the schema they are of, or the command.
EXAMPLES: Final[Mapping[str, Any]] = {
    "Definition": _DEFINITION,
    "StartBody": {"definition": "order", "input": _INPUT, "id": _ID},
    "RerunBody": {"input": _INPUT | {"amount": 10}},
    "CallbackBody": {"outcome": "succeeded", "output": {"receipt": "r-1"}},
    "Signal": {"approved_by": "ada"},
    "pause": {"reason": "the bank is being moved"},
    "resume": {"reason": "the bank has moved"},
    "cancel": {"reason": "the customer has changed their mind"},
    "retry": {"step": "ship"},
    "skip": {"step": "ship", "reason": "it was fetched"},
    "resolve": {"step": "reserve", "outcome": "undone", "reason": "cancelled by telephone"},
    "abandon": {"reason": "the shop is closed"},
    "Saga": _SAGA,
    "SagaPage": {"items": [_SUMMARY], "next": None},
    "JournalPage": {
        "items": [
            {"seq": 1, "at": _BEGAN, "kind": "saga_started", "saga": _ID, "definition": "order", "version": 1},
            {
                "seq": 2, "at": _BEGAN, "kind": "invoked",
                "step": "reserve", "phase": "action", "attempt": 1, "timeout": 10.0,
            },
            {"seq": 3, "at": _ENDED, "kind": "step_succeeded", "step": "reserve", "attempt": 1},
        ],
        "next": "3",
    },
    "Plan": {
        "waves": [
            [
                {
                    "step": "reserve",
                    "phase": "compensation",
                    "method": "DELETE",
                    "url": f"http://127.0.0.1:9201/reservations/{_ID}%3Areserve",
                }
            ]
        ],
        "omitted": [{"step": "pay", "why": "it was never invoked"}],
    },
    "Recorded": {"recorded": True},
    "Put": {"name": "order", "version": 1, "created": True, "warnings": []},
    "DefinitionPage": {"items": [_ROW], "next": None},
    "StoredDefinition": _ROW | {"definition": _DEFINITION},
    "VersionPage": {"items": [{name: _ROW[name] for name in _ROW if name != "description"}], "next": None},
    "NodePage": {"items": [{"id": "shop-1-3f2a", "alive": True, "self": True}], "next": None},
    "Health": {"status": "ok"},
    "Ready": {"status": "ready", "running": 3, "store": {"commits": 20, "appends": 31, "starts": 8}},
}  # fmt: skip

_LISTED: Final = {"errors": [{"pointer": "/input/amount", "detail": '"amount" is a required property'}]}
#: What problems of some types have besides.
MEMBERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "saga-compensated": {"detail": _DECLINED, "reason": _DECLINED, "id": _ID, "saga": _COMPENSATED},
    "input-invalid": _LISTED | {"detail": _LISTED["errors"][0]["detail"]},
    "parameter-invalid": {
        "errors": [{"pointer": "?limit", "detail": "must be a whole number from 1 to 200"}]
    },
    "request-invalid": {"errors": [{"pointer": "/definition", "detail": "is missing: add it"}]},
    "definition-invalid": {
        "errors": [{"pointer": "/steps/0/action/service", "detail": "there is no service 'stok'", "line": 7}]
    },
    "start-key-reused": {"id": _ID},
    "start-unknown": {"id": _ID},
}
