"""What every store does, whatever it keeps its sagas in."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from saga.errors import LeaseLost, MessagesWaiting, StoreUnavailable, StoreUnknown
from saga.ports.store import Store
from saga.ports.stored import (
    AT_ONCE,
    EXPORT_OWNER,
    INBOX_LIMIT,
    ORPHANED,
    POISON,
    SUSPECT,
    Delivered,
    Existing,
    Lease,
    Message,
    NodeRow,
    Query,
    SagaStatus,
)
from tests.contract.values import (
    KNOWN,
    NODE,
    OTHER,
    batch,
    message,
    new_saga,
    one_turn,
    owned_saga,
    summary,
)
from tests.doubles_store import Fault, FaultyStore, scripted, seeded

# --------------------------------------------------------------------------- the store itself


async def test_open_and_close_twice_change_nothing(store: Store) -> None:
    """Opening an open store and closing a closed one is harmless."""
    await store.start(new_saga())
    await store.open()
    assert await store.load("s1") is not None
    await store.close()
    await store.close()


async def test_a_store_that_works_says_so(store: Store) -> None:
    """A ping returns, nothing waits, and nothing has failed."""
    await store.ping()
    assert store.backlog() == 0.0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(store.failed(), 0.01)


async def test_a_secret_is_the_first_one_given(store: Store) -> None:
    """Coordinators that start together use one secret."""
    assert await store.secret("callbacks", b"\x00one") == b"\x00one"
    assert await store.secret("callbacks", b"two") == b"\x00one"
    assert await store.secret("other", b"two") == b"two"


async def test_durable_writes_are_counted(store: Store) -> None:
    """A saga of n appends costs n + 1 writes, and a refused one none."""
    before = replace(store.counters)
    lease = await owned_saga(store)
    await store.start(new_saga())
    lease = await store.append(lease, batch(b"second"))
    with pytest.raises(LeaseLost):
        await store.append(replace(lease, seq=1), batch(b"stale"))
    assert store.counters.starts - before.starts == 1
    assert store.counters.appends - before.appends == 1
    assert store.counters.commits - before.commits == 2


# --------------------------------------------------------------------------- definitions


async def test_versions_count_from_one_and_equal_documents_make_none(store: Store) -> None:
    """Only a document unlike the latest makes a version."""
    first, new = await store.put_definition("d", b"one", 1.0)
    assert (first.name, first.version, first.document, first.created_at, new) == ("d", 1, b"one", 1.0, True)
    assert await store.put_definition("d", b"one", 2.0) == (first, False)
    second, new = await store.put_definition("d", b"two", 3.0)
    assert (second.version, new) == (2, True)
    third, new = await store.put_definition("d", b"one", 4.0)
    assert (third.version, new) == (3, True)
    assert await store.versions("d") == [first, second, third]
    assert await store.definition("d") == third
    assert await store.definition("d", 2) == second


async def test_a_deleted_definition_comes_back_with_the_next_number(store: Store) -> None:
    """Numbers never restart, and a saga that runs still finds its version."""
    first, _ = await store.put_definition("d", b"one", 1.0)
    assert await store.delete_definition("d")
    assert not await store.delete_definition("d")
    assert await store.definition("d") == replace(first, deleted=True)
    assert await store.definition("d", 1) == replace(first, deleted=True)
    assert await store.definitions() == []
    second, new = await store.put_definition("d", b"one", 2.0)
    assert (second.version, second.deleted, new) == (2, False, True)
    assert await store.versions("d") == [first, second]


async def test_what_was_never_put_is_not_there(store: Store) -> None:
    """Unknown names and versions are None or empty, also versions no database can count to."""
    await store.put_definition("d", b"one", 1.0)
    assert await store.definition("x") is None
    for version in (0, -1, 2, 2**70):
        assert await store.definition("d", version) is None
    assert await store.versions("x") == []
    assert not await store.delete_definition("x")


async def test_definitions_are_the_latest_by_name(store: Store) -> None:
    """A list shows one version of each name, in the order of names."""
    for name, document in [("b", b"1"), ("a", b"2"), ("b", b"3")]:
        await store.put_definition(name, document, 1.0)
    assert [(d.name, d.version) for d in await store.definitions()] == [("a", 1), ("b", 2)]


async def test_equal_definitions_put_at_once_make_one_version(store: Store) -> None:
    """Of two coordinators that read the same folder one makes the version."""
    answers = await asyncio.gather(*(store.put_definition("d", b"one", 1.0) for _ in range(8)))
    assert sorted(new for _, new in answers) == [False] * 7 + [True]
    assert {stored.version for stored, _ in answers} == {1}


# --------------------------------------------------------------------------- starting


async def test_the_first_start_wins(store: Store) -> None:
    """The second start of an id changes nothing and is told what is there."""
    assert await store.start(new_saga(start_key="key", fingerprint="one")) is None
    other = new_saga(start_key="another", fingerprint="two", entries=[b"x", b"y"], owner=NODE)
    assert await store.start(other) == Existing(id="s1", start_key="key", fingerprint="one")
    record = await store.load("s1")
    assert record is not None
    assert (record.entries, record.owner, record.fence) == ((b"first",), None, 0)


async def test_of_starts_at_once_one_wins(store: Store) -> None:
    """Two identical requests at the same instant start one saga."""
    prints = [f"print-{n}" for n in range(16)]
    answers = await asyncio.gather(*(store.start(new_saga(fingerprint=each)) for each in prints))
    assert answers.count(None) == 1
    winner = prints[answers.index(None)]
    assert {answer.fingerprint for answer in answers if answer} == {winner}


async def test_a_saga_started_by_its_owner_has_fence_one(store: Store) -> None:
    """Whoever starts a saga may own it from its first entry."""
    await store.start(new_saga(owner=NODE, entries=[b"a", b"b"]))
    record = await store.load("s1")
    assert record is not None
    assert (record.owner, record.fence, record.entries, record.format) == (NODE, 1, (b"a", b"b"), 1)
    assert await store.claim(OTHER, 10, 1000.0, KNOWN) == []


async def test_an_unknown_saga_is_none(store: Store) -> None:
    """Nothing is made up for an id that is not there."""
    assert await store.load("x") is None
    assert await store.take("x", NODE, KNOWN) is None
    assert await store.messages("x") == []
    assert await store.deliver("x", message()) == Delivered(result="unknown")


# --------------------------------------------------------------------------- claiming


async def test_a_claim_is_exclusive(store: Store) -> None:
    """However many nodes scan at once, each saga goes to one of them."""
    for n in range(40):
        await store.start(new_saga(f"s{n:02}"))
    nodes = [f"node-{n}" for n in range(8)]
    claims = await asyncio.gather(*(store.claim(node, 10, 100.0, KNOWN) for node in nodes))
    taken = [claimed.lease.saga_id for claim in claims for claimed in claim]
    assert sorted(taken) == [f"s{n:02}" for n in range(40)]
    for node, claim in zip(nodes, claims, strict=True):
        assert {claimed.record.owner for claimed in claim} <= {node}


async def test_a_claim_brings_all_that_is_needed(store: Store) -> None:
    """Journal, inbox and a lease that works."""
    await store.start(new_saga(entries=[b"a", b"b"], start_key="key"))
    await store.deliver("s1", message())
    (claimed,) = await store.claim(NODE, 1, 100.0, KNOWN)
    assert claimed.lease == Lease(saga_id="s1", node=NODE, fence=1, seq=2)
    assert claimed.record == await store.load("s1")
    assert claimed.record.messages == (message(),)
    await store.append(claimed.lease, batch(b"c"))


async def test_wake_times_are_honoured(store: Store) -> None:
    """A saga is not claimed before it is due, and never when nothing but a message can move it."""
    await store.start(new_saga("later", wake_at=200.0))
    await store.start(new_saga("never", wake_at=None))
    assert await store.next_due(KNOWN) == 200.0
    assert await store.claim(NODE, 10, 199.9, KNOWN) == []
    assert [claimed.lease.saga_id for claimed in await store.claim(NODE, 10, 200.0, KNOWN)] == ["later"]
    assert await store.next_due(KNOWN) is None


async def test_a_saga_of_a_newer_format_is_left_to_nodes_that_know_it(store: Store) -> None:
    """No scan finds it, nor does its id; what it gets from outside waits for a node of a later release."""
    await store.start(new_saga("newer", version=KNOWN + 1, wake_at=10.0))
    await store.start(new_saga("known", wake_at=20.0))
    assert (await store.deliver("newer", message())).result == "new"
    before = await store.load("newer")
    assert await store.next_due(KNOWN) == 20.0
    assert [claimed.lease.saga_id for claimed in await store.claim(NODE, 10, 100.0, KNOWN)] == ["known"]
    assert await store.take("newer", NODE, KNOWN) is None
    assert await store.next_due(KNOWN) is None
    assert await store.load("newer") == before

    assert await store.next_due(KNOWN + 1) == 50.0 - AT_ONCE
    (claimed,) = await store.claim(OTHER, 10, 100.0, KNOWN + 1)
    assert (claimed.lease.saga_id, claimed.record.format) == ("newer", KNOWN + 1)
    assert await store.claim(NODE, 10, 100.0, KNOWN) == []


async def test_sagas_of_newer_formats_that_nobody_owns_are_counted(store: Store) -> None:
    """Those that will be due; one that has ended is nobody's work."""
    for n, wake_at in enumerate([10.0, 1e9, None]):
        await store.start(new_saga(f"s{n}", version=KNOWN + 1 + n % 2, wake_at=wake_at))
    await store.start(new_saga("owned", owner=NODE, version=KNOWN + 1))
    await store.start(new_saga("known"))
    assert [await store.newer(newest) for newest in (KNOWN, KNOWN + 1, KNOWN + 2)] == [2, 1, 0]


async def test_the_longest_due_go_first_whatever_their_formats(store: Store) -> None:
    """A node that knows several formats is as fair as one that knows one."""
    for n, wake_at in enumerate([30.0, 10.0, 40.0, 20.0]):
        lease = await owned_saga(store, f"s{n}", version=KNOWN + n % 2)
        await store.append(lease, batch(b"x", wake_at=wake_at, release=True))
    taken = await store.claim(NODE, 3, 100.0, KNOWN + 1)
    assert [claimed.lease.saga_id for claimed in taken] == ["s1", "s3", "s0"]


async def test_very_long_waits_do_not_overflow(store: Store) -> None:
    """A timer of a thousand years neither fires nor breaks."""
    far = 100.0 + 1000 * 365 * 86400
    await store.start(new_saga(wake_at=far))
    assert await store.claim(NODE, 10, 100.0, KNOWN) == []
    assert await store.next_due(KNOWN) == far


async def test_the_longest_due_go_first(store: Store) -> None:
    """Sagas that have waited longest are claimed first, by id where they waited equally long."""
    for key, wake_at in [("c", 30.0), ("a", 50.0), ("b", 10.0), ("d", 30.0)]:
        lease = await owned_saga(store, key)
        await store.append(lease, batch(b"x", wake_at=wake_at, release=True))
    first = await store.claim(NODE, 3, 100.0, KNOWN)
    assert [claimed.lease.saga_id for claimed in first] == ["b", "c", "d"]
    assert [claimed.lease.saga_id for claimed in await store.claim(NODE, 3, 100.0, KNOWN)] == ["a"]


@pytest.mark.parametrize("limit", [1, 3, 8])
async def test_one_place_in_four_goes_to_new_sagas(store: Store, limit: int) -> None:
    """A backlog of sagas that ran before does not starve new ones, nor they the backlog."""
    for n in range(24):
        lease = await owned_saga(store, f"old-{n:02}")
        await store.append(lease, batch(b"x", wake_at=1.0, release=True))
    for n in range(24):
        await store.start(new_saga(f"new-{n:02}", wake_at=50.0))
    taken = [
        claimed.lease.saga_id
        for _ in range(24 // limit)
        for claimed in await store.claim(OTHER, limit, 100.0, KNOWN)
    ]
    assert sum(key.startswith("new") for key in taken) == 6
    assert [key for key in taken if key.startswith("old")] == [f"old-{n:02}" for n in range(18)]


async def test_all_places_are_used(store: Store) -> None:
    """Where there are no new sagas, or only new ones, no place stays empty."""
    for n in range(8):
        await store.start(new_saga(f"new-{n}"))
    assert len(await store.claim(NODE, 8, 100.0, KNOWN)) == 8
    await store.leave(NODE)
    assert len(await store.claim(OTHER, 8, 100.0, KNOWN)) == 8


async def test_the_fence_rises_only_for_another_node(store: Store) -> None:
    """Another node's claim raises the fence, after a put-down too; coming back to the same node does not."""
    lease = await owned_saga(store)
    lease = await store.append(lease, batch(b"x", release=True))
    (again,) = await store.claim(NODE, 1, 100.0, KNOWN)
    assert again.lease.fence == 1
    await store.append(again.lease, batch(b"y", release=True))
    other = await store.take("s1", OTHER, KNOWN)
    assert other is not None
    assert other.lease.fence == 2
    await store.append(other.lease, batch(b"z", release=True))
    back = await store.take("s1", NODE, KNOWN)
    assert back is not None
    assert back.lease.fence == 3


async def test_take_asks_only_that_nobody_owns_it(store: Store) -> None:
    """A saga can be taken before it is due and after it has ended, but not twice."""
    await store.start(new_saga("early", wake_at=None))
    await store.start(new_saga("ended", wake_at=None, of=summary("completed", ended_at=1.0)))
    for key in ("early", "ended"):
        taken = await store.take(key, NODE, KNOWN)
        assert taken is not None
        assert taken.record == await store.load(key)
        assert await store.take(key, NODE, KNOWN) is None
        assert await store.take(key, OTHER, KNOWN) is None


async def test_what_a_node_owns_is_known(store: Store) -> None:
    """A claim whose answer was lost can be found again."""
    await owned_saga(store, "b")
    await owned_saga(store, "a")
    lease = await owned_saga(store, "put-down")
    await store.append(lease, batch(b"x", release=True))
    assert await store.owned(NODE) == ["a", "b"]
    assert await store.owned(OTHER) == []


# --------------------------------------------------------------------------- appending


async def test_the_journal_keeps_its_order(store: Store) -> None:
    """Entries are read in the order they were written, also many in one append."""
    lease = await owned_saga(store)
    expected = [b"first"]
    for size in (1, 0, 3, 20):
        added = [b"%d-%d" % (size, n) for n in range(size)]
        lease = await store.append(lease, batch(*added))
        expected += added
    assert lease == Lease(saga_id="s1", node=NODE, fence=1, seq=25)
    record = await store.load("s1")
    assert record is not None
    assert list(record.entries) == expected


@pytest.mark.parametrize(
    "stale",
    [
        {"fence": 0},
        {"fence": 2},
        {"seq": 0},
        {"seq": 2},
        {"node": OTHER},
        {"saga_id": "x"},
    ],
)
async def test_a_stale_append_changes_nothing(store: Store, stale: dict[str, Any]) -> None:
    """Fence, sequence and owner must all be the lease's."""
    lease = await owned_saga(store)
    await store.deliver("s1", message())
    before = await store.load("s1"), await store.list(Query())
    with pytest.raises(LeaseLost):
        await store.append(replace(lease, **stale), batch(b"x", of=summary("parked"), folded=["m1"]))
    assert (await store.load("s1"), await store.list(Query())) == before
    await store.append(lease, batch(b"x"))


async def test_the_same_append_twice_is_done_once(store: Store) -> None:
    """A repeated append finds that the journal has moved on."""
    lease = await owned_saga(store)
    answers = await asyncio.gather(
        *(store.append(lease, batch(b"x")) for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Lease", *["LeaseLost"] * 3]
    record = await store.load("s1")
    assert record is not None
    assert record.entries == (b"first", b"x")


async def test_a_former_owner_cannot_write_the_end(store: Store) -> None:
    """A slow node that finishes after a takeover is refused, whatever the saga's status."""
    slow = await owned_saga(store)
    await store.bury(NODE, 0)
    await store.release_dead()
    (taken,) = await store.claim(OTHER, 1, 1000.0, KNOWN)
    with pytest.raises(LeaseLost):
        await store.append(slow, batch(b"end", of=summary("completed")))
    await store.append(taken.lease, batch(b"go on"))


async def test_an_append_is_one_write(store: Store) -> None:
    """Entries, folded messages, summary and owner change together."""
    lease = await owned_saga(store)
    await store.deliver("s1", message())
    done = summary("completed", updated_at=200.0, ended_at=200.0, late=True, body=b'{"done":1}')
    await store.append(lease, batch(b"x", b"y", of=done, folded=["m1"], release=True, wake_at=None))
    record = await store.load("s1")
    assert record is not None
    assert (record.entries, record.messages, record.owner) == ((b"first", b"x", b"y"), (), None)
    (listed,) = await store.list(Query())
    assert (listed.summary, listed.owner, listed.fence) == (done, None, 1)
    assert await store.claim(NODE, 10, 1e12, KNOWN) == []


async def test_a_refused_append_spoils_no_other(store: Store) -> None:
    """Of appends that go down together each is judged alone."""
    good = [await owned_saga(store, f"good-{n}") for n in range(5)]
    lost = replace(await owned_saga(store, "lost"), fence=7)
    waiting = await owned_saga(store, "waiting")
    await store.deliver("waiting", message())
    answers = await asyncio.gather(
        *(store.append(lease, batch(b"x")) for lease in good[:2]),
        store.append(lost, batch(b"x")),
        store.append(waiting, batch(b"x", release=True)),
        *(store.append(lease, batch(b"x")) for lease in good[2:]),
        return_exceptions=True,
    )
    kinds = [type(answer).__name__ for answer in answers]
    assert kinds == ["Lease", "Lease", "LeaseLost", "MessagesWaiting", "Lease", "Lease", "Lease"]
    for lease in good:
        record = await store.load(lease.saga_id)
        assert record is not None
        assert record.entries == (b"first", b"x")


async def test_raising_the_fence_outdates_what_was_sent_before(store: Store) -> None:
    """After it only the returned lease can write."""
    lease = await owned_saga(store)
    raised = await store.append(lease, batch(b"abandon", raise_fence=True))
    assert raised == Lease(saga_id="s1", node=NODE, fence=2, seq=2)
    with pytest.raises(LeaseLost):
        await store.append(replace(raised, fence=1), batch(b"x"))
    await store.append(raised, batch(b"y", release=True, raise_fence=True))
    record = await store.load("s1")
    assert record is not None
    assert (record.owner, record.fence) == (None, 3)


async def test_an_empty_append_moves_the_wake_time(store: Store) -> None:
    """A saga can be put down without an entry."""
    lease = await owned_saga(store)
    lease = await store.append(lease, batch(wake_at=300.0, release=True))
    assert lease.seq == 1
    assert await store.next_due(KNOWN) == 300.0


# --------------------------------------------------------------------------- the inbox


async def test_messages_keep_their_order_whatever_their_times(store: Store) -> None:
    """The oldest is the one that came first."""
    await owned_saga(store)
    sent = [message(f"m{n}", at=float(100 - n), about="pay:action" if n else None) for n in range(5)]
    for each in sent:
        assert await store.deliver("s1", each) == Delivered(result="new", owner=NODE)
    assert await store.messages("s1") == sent
    record = await store.load("s1")
    assert record is not None
    assert list(record.messages) == sent


async def test_a_message_counts_once_also_after_it_was_folded(store: Store) -> None:
    """The second message with an id changes nothing, for as long as the saga is there."""
    lease = await owned_saga(store)
    await store.deliver("s1", message(body=b"one"))
    assert await store.deliver("s1", message(body=b"two")) == Delivered(result="duplicate", owner=NODE)
    lease = await store.append(lease, batch(b"x", folded=["m1"], release=True))
    assert await store.deliver("s1", message(body=b"three")) == Delivered(result="duplicate", owner=None)
    assert await store.messages("s1") == []
    await store.start(new_saga("s2"))
    assert (await store.deliver("s2", message())).result == "new"


async def test_folding_leaves_the_others_in_order(store: Store) -> None:
    """Only what an append folds leaves the inbox; what is folded and not there is no matter."""
    lease = await owned_saga(store)
    for key in ("a", "b", "c"):
        await store.deliver("s1", message(key))
    lease = await store.append(lease, batch(b"x", folded=["b", "unknown"]))
    await store.deliver("s1", message("d"))
    assert [each.id for each in await store.messages("s1")] == ["a", "c", "d"]
    await store.append(lease, batch(b"y", folded=["a", "c", "d"], release=True))
    assert await store.messages("s1") == []


async def test_an_inbox_is_bounded(store: Store) -> None:
    """A flood is turned away, a duplicate still told, and folding makes room."""
    lease = await owned_saga(store)
    await asyncio.gather(*(store.deliver("s1", message(f"m{n}")) for n in range(INBOX_LIMIT)))
    assert await store.deliver("s1", message("more")) == Delivered(result="full", owner=NODE)
    assert await store.deliver("s1", message("m0")) == Delivered(result="duplicate", owner=NODE)
    await store.append(lease, batch(b"x", folded=["m0"]))
    assert (await store.deliver("s1", message("more"))).result == "new"
    assert len(await store.messages("s1")) == INBOX_LIMIT


async def test_a_message_makes_a_saga_claimable(store: Store) -> None:
    """Whatever its wake time, its end, or the sender's clock."""
    for key, wake_at, at in [("past", None, 50.0), ("future", 1e9, 500.0), ("ended", None, 60.0)]:
        await store.start(
            new_saga(key, wake_at=wake_at, of=summary("completed" if key == "ended" else "running"))
        )
        await store.deliver(key, message(at=at))
    assert await store.next_due(KNOWN) == 50.0 - AT_ONCE
    claimed = await store.claim(NODE, 10, 100.0, KNOWN)
    assert [each.lease.saga_id for each in claimed] == ["past", "ended", "future"]


async def test_a_saga_with_messages_is_not_put_down(store: Store) -> None:
    """A put-down or an end is refused until what waits is folded."""
    lease = await owned_saga(store)
    await store.deliver("s1", message())
    before = await store.load("s1"), await store.list(Query())
    with pytest.raises(MessagesWaiting):
        await store.append(lease, batch(b"end", of=summary("completed"), release=True))
    assert (await store.load("s1"), await store.list(Query())) == before
    await store.append(lease, batch(b"fold", b"end", folded=["m1"], release=True))


async def test_an_outcome_yields_to_a_message_about_it(store: Store) -> None:
    """An append that settles an invocation folds first what a callback said of it."""
    lease = await owned_saga(store)
    await store.deliver("s1", message("other", about="hotel:action"))
    lease = await store.append(lease, batch(b"x", settles=["pay:action"]))
    await store.deliver("s1", message("mine", about="pay:action"))
    before = await store.load("s1")
    with pytest.raises(MessagesWaiting):
        await store.append(lease, batch(b"y", settles=["pay:action"]))
    with pytest.raises(MessagesWaiting):
        await store.append(lease, batch(b"y", settles=["pay:action"], folded=["other"]))
    assert await store.load("s1") == before
    await store.append(lease, batch(b"y", settles=["pay:action"], folded=["mine"]))


async def test_a_lost_lease_is_told_before_waiting_messages(store: Store) -> None:
    """Who owns nothing has nothing to fold."""
    lease = await owned_saga(store)
    await store.deliver("s1", message())
    with pytest.raises(LeaseLost):
        await store.append(replace(lease, fence=9), batch(b"x", release=True))


async def test_an_owner_finds_its_inboxes(store: Store) -> None:
    """Only sagas this node owns, only those with messages."""
    leases = {key: await owned_saga(store, key) for key in ("b", "a", "empty")}
    await owned_saga(store, "theirs", OTHER)
    await store.start(new_saga("nobody"))
    for key in ("b", "a", "theirs", "nobody"):
        await store.deliver(key, message())
    assert await store.inboxes(NODE) == ["a", "b"]
    await store.append(leases["a"], batch(b"x", folded=["m1"]))
    assert await store.inboxes(NODE) == ["b"]


# --------------------------------------------------------------------------- lists


async def test_lists_are_newest_first_and_carry_the_summary(store: Store) -> None:
    """By start and, where that is equal, by id."""
    shown = summary(started_at=3.5, labels={"traveller": "x"}, body=b'{"a":1}', version=7)
    await store.start(new_saga("a", of=summary(started_at=1.0)))
    await store.start(new_saga("c", of=shown, owner=NODE))
    await store.start(new_saga("b", of=summary(started_at=3.5)))
    listed = await store.list(Query())
    assert [each.id for each in listed] == ["c", "b", "a"]
    assert (listed[0].summary, listed[0].owner, listed[0].fence) == (shown, NODE, 1)


STATUSES: tuple[SagaStatus, ...] = ("running", "parked", "completed", "running")


async def test_lists_filter_by_status_and_definition(store: Store) -> None:
    """Any set of statuses, a definition, both, or none."""
    for n, status in enumerate(STATUSES):
        of = summary(status, started_at=float(n), definition="hotel" if n == 3 else "flight")
        await store.start(new_saga(f"s{n}", of=of))

    async def ids(statuses: set[str] | None, definition: str | None, limit: int = 50) -> list[str]:
        wanted = None if statuses is None else frozenset(statuses)
        query = Query(statuses=wanted, definition=definition, limit=limit)
        return [each.id for each in await store.list(query)]

    assert await ids({"running"}, None) == ["s3", "s0"]
    assert await ids({"running", "completed"}, None) == ["s3", "s2", "s0"]
    assert await ids({"running", "completed"}, None, limit=2) == ["s3", "s2"]
    assert await ids({"running", "completed"}, "flight") == ["s2", "s0"]
    assert await ids(None, "flight") == ["s2", "s1", "s0"]
    assert await ids(set(), None) == []
    assert await ids(None, "x") == []


async def test_pages_are_stable_under_inserts(store: Store) -> None:
    """What starts while somebody turns pages neither repeats nor hides a saga."""
    for n in range(9):
        await store.start(new_saga(f"s{n}", of=summary(started_at=float(n // 3))))
    seen: list[str] = []
    after = None
    while page := await store.list(Query(limit=2, after=after)):
        seen += [each.id for each in page]
        after = (page[-1].summary.started_at, page[-1].id)
        await store.start(new_saga(f"newer-{len(seen)}", of=summary(started_at=99.0)))
    assert seen == [f"s{n}" for n in range(8, -1, -1)]


# --------------------------------------------------------------------------- nodes


async def test_a_node_lives_while_it_beats(store: Store) -> None:
    """Only a beat that has not moved buries a node, and a dead node beats no more."""
    assert await store.beat(NODE, 1)
    assert not await store.bury(NODE, 0)
    assert await store.beat(NODE, 2)
    assert await store.bury(NODE, 2)
    assert not await store.beat(NODE, 3)
    assert not await store.beat("unknown", 1)
    assert not await store.bury("unknown", 0)
    await store.join(NODE)
    assert await store.nodes() == [NodeRow(id=NODE, beat=2, dead=True), NodeRow(id=OTHER, beat=0, dead=False)]


async def test_what_the_dead_owned_is_due_at_once_under_a_higher_fence(store: Store) -> None:
    """Dead and unknown owners lose their sagas, whatever the wake time; the living keep theirs."""
    await owned_saga(store, "dead", wake_at=None)
    await owned_saga(store, "unknown", "never-joined", wake_at=1e9)
    await owned_saga(store, "living", OTHER)
    await store.bury(NODE, 0)
    assert await store.release_dead() == 2
    assert await store.release_dead() == 0
    claimed = await store.claim(OTHER, 10, 100.0, KNOWN)
    assert [each.lease.saga_id for each in claimed] == ["dead", "unknown"]
    assert all(each.lease.fence > 1 for each in claimed)
    record = await store.load("living")
    assert record is not None
    assert (record.owner, record.fence) == (OTHER, 1)


async def test_a_released_saga_is_taken_with_a_higher_fence_even_by_its_owner(store: Store) -> None:
    """A node that was thought dead cannot go on under the old fence."""
    await owned_saga(store)
    await store.bury(NODE, 0)
    await store.release_dead()
    taken = await store.take("s1", NODE, KNOWN)
    assert taken is not None
    assert taken.lease.fence > 1


async def test_a_message_that_was_left_keeps_its_place(store: Store) -> None:
    """What is released is due since its oldest message, if that is older than its last entry."""
    lease = await owned_saga(store)
    await store.deliver("s1", message(at=50.0))
    await store.append(lease, batch(b"x", wake_at=None))
    await store.leave(NODE)
    assert await store.next_due(KNOWN) == 50.0 - AT_ONCE


async def test_what_a_fast_clock_has_dated_waits_for_no_other_clock(store: Store) -> None:
    """The owner that died, or who sent the message, may have been an hour ahead of those that are left."""
    ahead = 3_600.0
    lease = await owned_saga(store, "dead", wake_at=None)
    await store.append(lease, batch(b"x", of=replace(summary(), updated_at=ahead)))
    await store.bury(NODE, 0)
    await store.release_dead()
    await store.start(new_saga("called", wake_at=None))
    await store.deliver("called", message(at=ahead + 1))
    due = await store.next_due(KNOWN)
    assert due is not None
    assert due <= 0.0
    claimed = await store.claim(OTHER, 10, 0.0, KNOWN)
    assert [each.lease.saga_id for each in claimed] == ["dead", "called"]


async def test_a_beat_that_was_overtaken_changes_nothing(store: Store) -> None:
    """It must not look like another sign of life, nor bring back a beat by which somebody buries the node."""
    await store.beat(NODE, 7)
    assert await store.beat(NODE, 6)
    assert not await store.bury(NODE, 6)
    assert next(row.beat for row in await store.nodes() if row.id == NODE) == 7


async def test_a_leaving_node_hands_over_at_once(store: Store) -> None:
    """Its sagas are free as they stand, and it is forgotten."""
    await owned_saga(store, "s1", wake_at=1e9)
    await owned_saga(store, "theirs", OTHER)
    await store.leave(NODE)
    record = await store.load("s1")
    assert record is not None
    assert (record.owner, record.fence) == (None, 1)
    assert [row.id for row in await store.nodes()] == [OTHER]
    assert [each.lease.fence for each in await store.claim(OTHER, 10, 100.0, KNOWN)] == [2]
    await store.leave(NODE)


async def _risk_after(store: Store, *notes: list[str]) -> int:
    """Return the risk of s1 after nodes have died, one after the other, each with a note."""
    for number, noted in enumerate(notes):
        node = f"dies-{number}"
        await store.join(node)
        if await store.load("s1") is None:
            await store.start(new_saga("s1"))
            await store.start(new_saga("s2"))
        for saga_id in ("s1", "s2"):
            assert await store.take(saga_id, node, KNOWN) is not None
        await store.evaluate(node, noted)
        assert await store.bury(node, 0)
        assert await store.release_dead() == 2
    taken = await store.take("s1", OTHER, KNOWN)
    assert taken is not None
    return taken.risk


@pytest.mark.parametrize(
    ("notes", "risk"),
    [
        ([[]], ORPHANED),
        ([["s2"]], ORPHANED),
        ([["s1", "s2"]], SUSPECT),
        ([["s1", "s2"], ["s1", "s2"]], SUSPECT),
        ([["s1", "s2"], ["s1"]], SUSPECT + 1),
        ([["s1"]] * 10, POISON),
        ([["s1"], [], ["s1"], ["s1", "s2"], ["s1"]], SUSPECT + 3),
    ],
)
async def test_a_death_tells_of_what_was_noted_for_evaluation(
    store: Store, notes: list[list[str]], risk: int
) -> None:
    """Whatever a dead node owned is at risk, what it had noted is suspect, and alone three times poison."""
    assert await _risk_after(store, *notes) == risk


async def test_a_saga_in_good_order_is_at_no_risk(store: Store) -> None:
    """Neither put down nor handed over."""
    await store.start(new_saga())
    claimed = await store.claim(NODE, 1, 100.0, KNOWN)
    assert [each.risk for each in claimed] == [0]
    await store.evaluate(NODE, ["s1"])
    await store.leave(NODE)
    assert [each.risk for each in await store.claim(OTHER, 1, 100.0, KNOWN)] == [0]


async def test_what_was_evaluated_without_harm_is_at_no_risk(store: Store) -> None:
    """A new note clears what stood in the old one, and only that; an unknown node notes nothing."""
    await _risk_after(store, ["s1", "s2"])
    taken = await store.take("s2", OTHER, KNOWN)
    assert taken is not None
    assert taken.risk == SUSPECT
    await store.evaluate(OTHER, ["s1", "s2"])
    await store.evaluate("unknown", [])
    await store.evaluate(OTHER, ["s2"])
    await store.leave(OTHER)
    assert {each.lease.saga_id: each.risk for each in await store.claim(NODE, 9, 1e9, KNOWN)} == {
        "s1": 0,
        "s2": SUSPECT,
    }


async def test_nobody_releases_what_is_being_exported(store: Store) -> None:
    """A saga under export belongs to no node and stays where it is."""
    await store.start(new_saga())
    assert await store.take("s1", f"{EXPORT_OWNER}42", KNOWN) is not None
    assert await store.release_dead() == 0
    assert await store.claim(NODE, 10, 1e12, KNOWN) == []
    assert await store.take("s1", NODE, KNOWN) is None


# --------------------------------------------------------------------------- odd data

ODD_TEXTS = ["", "\x00", "a\x00b", "$set", "a.b", "🜁", "'; DROP TABLE sagas; --", "%_*?[", "x" * 10_000]


@pytest.mark.parametrize("text", ODD_TEXTS)
async def test_odd_texts_come_back_as_they_went(store: Store, text: str) -> None:
    """Nothing in a text means anything to a store."""
    sent = Message(id=text, kind=text, body=text.encode(), by=text, at=1.0, about=text)
    of = summary(labels={text: text}, definition=text, body=text.encode())
    saga = new_saga(text, of=of, start_key=text, fingerprint=text, entries=[text.encode()])
    await store.start(saga)
    assert await store.start(saga) == Existing(id=text, start_key=text, fingerprint=text)
    await store.start(new_saga("other"))
    await store.put_definition(text, text.encode(), 1.0)
    await store.deliver(text, sent)
    record = await store.load(text)
    assert record is not None
    assert (record.id, record.entries, record.messages) == (text, (text.encode(),), (sent,))
    (listed,) = await store.list(Query(definition=text))
    assert (listed.id, listed.summary) == (text, of)
    found = await store.definition(text)
    assert found is not None
    assert found.document == text.encode()


async def test_odd_values_come_back_as_they_went(store: Store) -> None:
    """Numbers beyond 64 bit, empty keys and bytes that are no text are the caller's business."""
    labels: dict[str, str | float | int | bool] = {
        "big": 2**70,
        "small": -(2**63) - 1,
        "yes": True,
        "no": False,
        "half": 0.1,
        "": 1,
        "\ud800": "\udfff",
    }
    entries = [
        b"",
        b"\xff\xfe\x00",
        b'{"": 1, "a.b": 2, "$c": 3, "n": 1180591620717411303424}',
        b"x" * 300_000,
    ]
    lease = await owned_saga(store)
    lease = await store.append(lease, batch(*entries, of=summary(labels=labels)))
    (listed,) = await store.list(Query())
    assert listed.summary.labels == labels
    assert [type(value) for value in listed.summary.labels.values()] == [
        int,
        int,
        bool,
        bool,
        float,
        int,
        str,
    ]
    record = await store.load("s1")
    assert record is not None
    assert record.entries == (b"first", *entries)


# --------------------------------------------------------------------------- answers that are lost


async def test_after_a_lost_answer_load_tells_what_happened(store: Store) -> None:
    """A write that was done and reported as unknown can be read back by whoever sent it."""
    faulty = FaultyStore(
        store,
        scripted(
            {"start": [Fault.AFTER], "append": [None, Fault.AFTER, Fault.BEFORE], "claim": [Fault.AFTER]}
        ),
    )
    with pytest.raises(StoreUnknown):
        await faulty.start(new_saga())
    assert await faulty.start(new_saga()) == Existing(id="s1", start_key=None, fingerprint="print")
    with pytest.raises(StoreUnknown):
        await faulty.claim(NODE, 10, 100.0, KNOWN)
    assert await faulty.owned(NODE) == ["s1"]
    lease = await faulty.append(Lease(saga_id="s1", node=NODE, fence=1, seq=1), batch(b"x"))
    with pytest.raises(StoreUnknown):
        await faulty.append(lease, batch(b"y"))
    record = await faulty.load("s1")
    assert record is not None
    assert record.entries[lease.seq :] == (b"y",)
    with pytest.raises(StoreUnavailable):
        await faulty.append(replace(lease, seq=3), batch(b"z"))
    assert await faulty.load("s1") == record
    assert faulty.fired == {
        ("start", Fault.AFTER): 1,
        ("claim", Fault.AFTER): 1,
        ("append", Fault.AFTER): 1,
        ("append", Fault.BEFORE): 1,
    }


async def test_a_seeded_plan_is_the_same_each_time() -> None:
    """A failure that was found by a seed is found again by it."""
    calls = ["append", "load", "claim"] * 100
    plans = [[plan(call) for call in calls] for plan in (seeded(7, 0.2), seeded(7, 0.2), seeded(8, 0.2))]
    assert plans[0] == plans[1] != plans[2]
    assert 30 < sum(fault is not None for fault in plans[0]) < 90


# --------------------------------------------------------------------------- cancelled callers


async def test_a_cancelled_write_is_done_wholly_or_not_at_all(store: Store) -> None:
    """And the writes beside and after it are not disturbed."""
    leases = [await owned_saga(store, f"s{n}") for n in range(8)]
    tasks = [asyncio.ensure_future(store.append(lease, batch(b"x", b"y"))) for lease in leases]
    await one_turn()
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for n, task in enumerate(tasks):
        record = await store.load(f"s{n}")
        assert record is not None
        assert record.entries in ((b"first", b"x", b"y"), (b"first",))
        assert task.cancelled() or record.entries == (b"first", b"x", b"y")
    await store.append(await owned_saga(store, "next"), batch(b"x"))


async def test_what_a_cancelled_claim_took_is_free_again(store: Store) -> None:
    """A caller that went away owns nothing nobody runs."""
    await store.start(new_saga())
    for call in (store.claim(NODE, 10, 100.0, KNOWN), store.take("s1", NODE, KNOWN)):
        task = asyncio.ensure_future(call)
        await one_turn()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if task.cancelled():
            await store.ping()  # comes after the claim, and the next one after what undoes it
            await store.ping()
            assert await store.owned(NODE) == []
        else:
            await store.leave(NODE)
    assert await store.take("s1", OTHER, KNOWN) is not None
