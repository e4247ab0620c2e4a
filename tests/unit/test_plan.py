"""Which actions are undone, in which waves; checked against the plain definition of the order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from compensations.plan import CompensationPlan, Footprint, Omitted, plan_compensation
from compensations.policy import Effect, Undo, owed


def done(
    name: str, *after: str, effect: Effect = Effect.SUCCEEDED, undo: Undo = Undo.DUE, owes: bool = True
) -> Footprint:
    """Return what an action has left behind."""
    return Footprint(
        name=name, step=name.partition("[")[0], after=after, effect=effect, undo=undo, compensatable=owes
    )


def waves(*footprints: Footprint) -> tuple[tuple[str, ...], ...]:
    """Return the waves of a plan."""
    return plan_compensation(footprints).waves


def test_a_chain_is_undone_from_its_end() -> None:
    """One by one."""
    plan = plan_compensation([done("a"), done("b", "a"), done("c", "b")])

    assert plan == CompensationPlan(waves=(("c",), ("b",), ("a",)), next=("c",), omitted=())


def test_independent_branches_share_a_wave() -> None:
    """A diamond takes three."""
    assert waves(done("a"), done("b", "a"), done("c", "a"), done("d", "b", "c")) == (
        ("d",),
        ("b", "c"),
        ("a",),
    )


def test_what_owes_nothing_is_omitted_and_holds_nothing_back() -> None:
    """With the reason; the order goes on through it."""
    plan = plan_compensation(
        [
            done("a"),
            done("b", "a", owes=False),
            done("c", "b"),
            done("d", "c", effect=Effect.REFUSED),
            done("e", "d", effect=Effect.NEVER_INVOKED),
        ]
    )

    assert plan.waves == (("c",), ("a",))
    assert plan.omitted == (
        Omitted(name="b", why="needs no compensation"),
        Omitted(name="d", why="refused"),
        Omitted(name="e", why="never invoked"),
    )


def test_an_action_under_way_holds_back_what_is_upstream_of_it() -> None:
    """Even one that owes nothing; what stands beside it is free."""
    plan = plan_compensation([done("a"), done("b", "a", effect=Effect.OPEN, owes=False), done("c")])

    assert plan.next == ("c",)
    assert plan.waves == (("c",), ("a",))


def test_a_failed_compensation_holds_back_only_what_is_upstream_of_it() -> None:
    """It stays in its wave."""
    plan = plan_compensation([done("a"), done("b", "a", undo=Undo.FAILED), done("c", "a")])

    assert plan.next == ("b", "c")
    assert plan.waves == (("b", "c"), ("a",))


def test_what_was_undone_frees_what_is_upstream_of_it() -> None:
    """So does what a person left."""
    plan = plan_compensation([done("a"), done("b", "a", undo=Undo.UNDONE), done("c", "a", undo=Undo.SKIPPED)])

    assert plan.next == ("a",)


def test_instances_of_a_step_stand_in_one_wave() -> None:
    """Those that happened."""
    plan = plan_compensation(
        [
            done("a"),
            done("b[0]", "a"),
            done("b[1]", "a", effect=Effect.REFUSED),
            done("b[2]", "a"),
            done("c", "b"),
        ]
    )

    assert plan.waves == (("c",), ("b[0]", "b[2]"), ("a",))


def test_ten_thousand_actions_are_planned_without_delay() -> None:
    """In proportion to the actions and their dependencies: a chain is as deep as it is long."""
    chain = [done(f"s{at}", *([f"s{at - 1}"] if at else [])) for at in range(10_000)]

    assert waves(*chain)[0] == ("s9999",)


# --------------------------------------------------------------------------- any graph


@st.composite
def graphs(draw: st.DrawFn) -> list[Footprint]:
    """Return actions of any effect over any graph."""
    footprints: list[Footprint] = []
    for at in range(draw(st.integers(1, 9))):
        after = (
            draw(st.sets(st.sampled_from([each.name for each in footprints]), max_size=3))
            if footprints
            else ()
        )
        footprints.append(
            done(
                f"s{at}",
                *sorted(after),
                effect=draw(st.sampled_from(Effect)),
                undo=draw(st.sampled_from(Undo)),
                owes=draw(st.booleans()),
            )
        )
    return footprints


def _downstream(footprints: list[Footprint], name: str) -> set[str]:
    near = {each.name for each in footprints if name in each.after}
    return near.union(*(_downstream(footprints, each) for each in near))


@given(graphs())
def test_nothing_is_next_before_everything_downstream_of_it_is_over(footprints: list[Footprint]) -> None:
    """And everything of which that is so is next."""
    plan, by_name = plan_compensation(footprints), {each.name: each for each in footprints}
    wanted = [
        each.name
        for each in footprints
        if owed(each.effect, compensatable=each.compensatable)
        and each.undo not in (Undo.UNDONE, Undo.SKIPPED)
        and not any(by_name[name].blocks for name in _downstream(footprints, each.name))
    ]

    assert list(plan.next) == wanted


@given(graphs())
def test_every_action_is_in_one_wave_or_omitted_and_waves_respect_the_order(
    footprints: list[Footprint],
) -> None:
    """An earlier wave never stands upstream of a later one."""
    plan = plan_compensation(footprints)
    placed = {name: at for at, wave in enumerate(plan.waves) for name in wave}

    assert len(placed) + len(plan.omitted) == len(footprints)
    assert placed.keys().isdisjoint(each.name for each in plan.omitted)
    for name, at in placed.items():
        assert all(placed.get(each, -1) < at for each in _downstream(footprints, name))
