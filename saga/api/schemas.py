"""The schemas of the API's description: of bodies, definitions, answers and entries of journals.

They are made of the models that read, the shapes of what is answered and the union of entries; only what those
cannot tell is put right here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from pydantic import TypeAdapter

from saga.api import shapes
from saga.api.commands import COMMANDS
from saga.core import views
from saga.core.commands import Command
from saga.core.entries import KINDS, Entry
from saga.language.model import SagaDefinition

Schema: TypeAlias = dict[str, Any]

_REF: Final = "#/components/schemas/"
#: What the components are called whose classes are called otherwise.
_NAMES: Final = {"SagaDefinition": "Definition", "ProblemDocument": "Problem"}
_TIME: Final = {"type": "string", "format": "date-time"}


def ref(to: Any) -> Schema:
    """Return a reference to the schema of a class."""
    return {"$ref": _REF + _NAMES.get(to.__name__, to.__name__)}


def schemas(answers: Iterable[Any], bodies: Iterable[Any]) -> Schema:
    """Return every schema by name: of what is answered, what is read, and the parts of both."""
    classes = [*answers, shapes.UnreadEntry, shapes.ProblemDocument, *bodies, SagaDefinition, *KINDS.values()]
    _, made = TypeAdapter.json_schemas(
        [(each, "validation", TypeAdapter(each)) for each in dict.fromkeys(classes)],
        ref_template=_REF + "{model}",
    )
    found = {name: _tidy(schema) for name, schema in made["$defs"].items()}
    for entry in KINDS.values():
        found[entry.__name__] = _shown(entry, found[entry.__name__])
    found["Entry"] = {
        "description": "One fact of a saga's journal. A later release may have kinds that are not listed here.",
        "oneOf": [*(ref(entry) for entry in KINDS.values()), ref(shapes.UnreadEntry)],
        "discriminator": {
            "propertyName": "kind",
            "mapping": {kind: ref(entry)["$ref"] for kind, entry in KINDS.items()},
        },
    }
    renamed = {_NAMES.get(name, name): schema for name, schema in found.items()}
    return dict(sorted(renamed.items()))


def command_body(schema: Schema, command: Command) -> Schema:
    """Return what the body of one command may hold, from the schema of all."""
    kind = COMMANDS[command]
    members = {name: schema["properties"][name] for name in ("reason", *kind.members)}
    for name in kind.needed:
        said, (first, _null) = members[name]["description"], members[name]["anyOf"]
        members[name] = first | {"description": said}
    made = {"type": "object", "properties": members, "additionalProperties": False}
    return made | ({"required": list(kind.needed)} if kind.needed else {})


# --------------------------------------------------------------------------- what pydantic cannot tell


def _tidy(value: Any) -> Any:
    """Return a schema in the words of this API: without titles, with plain descriptions and references."""
    if isinstance(value, list):
        return [_tidy(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "component" in value:
        said = {name: value[name] for name in ("description",) if name in value}
        return {"$ref": _REF + value["component"]} | said
    made: Schema = {
        name: {member: _tidy(schema) for member, schema in each.items()}
        if name == "properties"
        else _tidy(each)
        for name, each in value.items()
        # What is taken for a member that is left out depends on where it stands: what GET shows has it written out.
        if name not in ("title", "default", "discriminator")
    }
    if "description" in made:
        made["description"] = _plain(made["description"])
    if "$ref" in made:
        name = made["$ref"].removeprefix(_REF)
        made["$ref"] = _REF + _NAMES.get(name, name)
    if "patternProperties" in made:
        ((pattern, schema),) = made.pop("patternProperties").items()
        made |= {"propertyNames": {"pattern": pattern}, "additionalProperties": schema}
    return made


def _plain(said: str) -> str:
    """Return a docstring as the text of a page."""
    said = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", said).replace("``", "`")
    return "\n\n".join(" ".join(part.split()) for part in said.split("\n\n"))


def _shown(entry: type[Entry], schema: Schema) -> Schema:
    """Return an entry as the API shows it: with its number, its kind, and times that can be read."""
    members = {
        name: _TIME if name in views.TIMES else member for name, member in schema["properties"].items()
    }
    members.pop("size", None)
    head = {"seq": {"type": "integer", "minimum": 1}, "at": members.pop("at"), "kind": {"const": entry.kind}}
    required = ["seq", "at", "kind", *(name for name in schema["required"] if name != "at")]
    return {
        "type": "object",
        "description": schema["description"],
        "properties": head | members,
        "required": required,
    }
