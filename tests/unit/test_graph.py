"""Which step waits for which."""

from __future__ import annotations

from saga.language.graph import Graph

DIAMOND = Graph({"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")})


def test_upstream_and_downstream_are_transitive() -> None:
    """A step knows everything that settles before it, and everything that waits for it."""
    assert DIAMOND.upstream("d") == {"a", "b", "c"}
    assert DIAMOND.downstream("a") == {"b", "c", "d"}
    assert DIAMOND.upstream("a") == frozenset() == DIAMOND.downstream("d")


def test_neighbours_are_told_in_order() -> None:
    """What is written directly, in the order it is written."""
    assert DIAMOND.after("d") == ("b", "c")
    assert DIAMOND.dependents("a") == ("b", "c")
    assert DIAMOND.order == ("a", "b", "c", "d")
    assert "a" in DIAMOND
    assert "z" not in DIAMOND


def test_a_step_that_says_nothing_waits_for_the_one_above() -> None:
    """An empty list waits for nothing; the first step has none above it."""
    graph = Graph.of([("a", None), ("b", None), ("c", ()), ("d", None)])
    assert [graph.after(name) for name in graph.order] == [(), ("a",), (), ("c",)]


def test_steps_may_wait_for_later_ones() -> None:
    """The order of the definition is not the order of execution."""
    graph = Graph({"late": ("early",), "early": ()})
    assert graph.topological == ("early", "late")
    assert graph.cycle is None


def test_a_cycle_is_named() -> None:
    """Only the steps on it, each waiting for the next."""
    graph = Graph({"a": (), "below": ("x",), "x": ("y", "a"), "y": ("z",), "z": ("x",)})
    assert graph.cycle == ("x", "y", "z")
    assert graph.topological == ("a",)


def test_a_step_that_waits_for_itself_is_a_cycle() -> None:
    """The smallest one."""
    assert Graph({"a": ("a",)}).cycle == ("a",)


def test_what_does_not_exist_is_left_out() -> None:
    """Repeated and unknown names are problems elsewhere, and harmless here."""
    graph = Graph.of([("a", ("b", "b", "nobody")), ("b", None), ("a", ())])
    assert graph.order == ("a", "b")
    assert graph.after("a") == ("b",)


def test_two_hundred_steps_in_a_row_cost_nothing() -> None:
    """Nor do two hundred that all wait for all above them."""
    names = [f"s{at}" for at in range(200)]
    graph = Graph({name: tuple(names[:at]) for at, name in enumerate(names)})
    assert len(graph.upstream("s199")) == 199
    assert len(graph.downstream("s0")) == 199
