"""What clients were told, journals show and participants have in their ledgers, before the campaign's judge."""

from __future__ import annotations

from typing import Any

from tests.campaign.definitions import plan
from tests.campaign.evidence import Evidence
from tests.campaign.judge import Finding, judge
from tests.crash_points.journey import Client
from tests.crash_points.world import World, definition


async def judged(client: Client, world: World, stem: str) -> list[Finding]:
    """Return what is not as it was promised of the sagas whose names begin so."""
    sagas = [saga for saga in await _every_saga(client) if saga["id"].startswith(stem)]
    journals = {
        saga["id"]: (await client.ask("GET", f"/v1/sagas/{saga['id']}/journal"))["items"] for saga in sagas
    }
    deliveries, effects = world.books()
    told = client.told
    evidence = Evidence(
        plans={"trip": plan(definition(world.urls))},
        sagas=sagas,
        journals=journals,
        deliveries=[row for row in deliveries if row["saga"].startswith(stem)],
        effects=[row for row in effects if row["saga"].startswith(stem)],
        accepted={key: saga for key, saga in told.accepted.items() if saga.startswith(stem)},
        told={saga: status for saga, status in told.ended.items() if saga.startswith(stem)},
        cancelled=frozenset(saga for saga in told.cancelled if saga.startswith(stem)),
    )
    return judge(evidence)


async def _every_saga(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await client.ask("GET", f"/v1/sagas?limit=200{cursor}")
        found += page["items"]
        if not page["next"]:
            return found
        cursor = f"&cursor={page['next']}"
