"""What an expression refers to: the roots of the scope, and the keys that follow them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

#: A node of JMESPath's syntax tree.
Node: TypeAlias = Mapping[str, Any]
#: Keys, from the scope on.
Path: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One use of a root by an expression."""

    #: The root as written, ``input`` for one; "@" when the expression uses the scope as a whole.
    root: str
    #: The keys that follow the root, as far as they are certain: ``a.b[0].c`` has ``("b",)``.
    path: tuple[str, ...]
    #: The expression is a plain dotted path: an absent key makes it nothing.
    strict: bool
    #: The text between the braces.
    expression: str
    #: It stands to the left of a ``||``: when it gives nothing something else is taken.
    guarded: bool


def references_of(tree: Node, text: str, *, strict: bool) -> Iterator[Reference]:
    """Yield what a parsed expression refers to; ``strict`` is said of a plain dotted path."""
    tracer = _Tracer()
    tracer.use(tree, (), guarded=False)
    for path, guarded in dict.fromkeys(tracer.found):
        root, *keys = path or ("@",)
        yield Reference(root=root, path=tuple(keys), strict=strict, expression=text, guarded=guarded)


class _Tracer:
    """Follow what each part of an expression is applied to, and note every path it takes from the scope.

    The current value is a path from the scope, ``()`` for the scope itself, or None when it is something
    whose members are no roots any more: an element of an array, a literal, a function's result.
    """

    def __init__(self) -> None:
        self.found: list[tuple[Path, bool]] = []

    def use(self, node: Node, current: Path | None, *, guarded: bool) -> None:
        """Note what the node gives: it is used as it is."""
        path = self._trace(node, current, guarded=guarded)
        if path is not None:
            self.found.append((path, guarded))

    def _trace(self, node: Node, current: Path | None, *, guarded: bool) -> Path | None:
        match node["type"]:
            case "field":
                return None if current is None else (*current, node["value"])
            case "current" | "identity":
                return current
            case "subexpression" | "index_expression" | "pipe":
                return self._sequence(node, current, guarded=guarded)
            case "or_expression":
                left, right = node["children"]
                self.use(left, current, guarded=True)
                self.use(right, current, guarded=guarded)
            case "projection" | "value_projection" | "filter_projection":
                first, *inner = node["children"]
                self.use(first, current, guarded=guarded)
                self._each(inner, None, guarded=guarded)
            case "expref":
                self._each(node["children"], None, guarded=guarded)
            case "index" | "slice":
                self.found += [] if current is None else [(current, guarded)]
            case _:
                self._each(node["children"], current, guarded=guarded)
        return None

    def _each(self, nodes: list[Node], current: Path | None, *, guarded: bool) -> None:
        for node in nodes:
            self.use(node, current, guarded=guarded)

    def _sequence(self, node: Node, current: Path | None, *, guarded: bool) -> Path | None:
        """Apply one part after the other; a value that a part takes no notice of is noted all the same."""
        for child in node["children"]:
            before, known = current, len(self.found)
            current = self._trace(child, current, guarded=guarded)
            if before and current is None and len(self.found) == known:
                self.found.append((before, guarded))
        return current
