"""Settings of ``saga serve``: from ``SAGA_…`` variables and flags, every problem at once.

The fields of :class:`Settings` are the one table: what reads a text, its default, its unit and its meaning stand
with the field, and the flags of the command line and the table of the README are made of :data:`SETTINGS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from saga import setting_texts as texts
from saga.errors import Problem, SettingsInvalid
from saga.language.durations import format_duration
from saga.setting_texts import Read

#: Variables that begin like settings but belong to the commands that speak to a server.
CLIENT_VARIABLES: Final = frozenset({"SAGA_URL", "SAGA_TOKEN"})
#: Most sagas and calls that may be asked for: beyond, a machine has no memory or no ports.
_MOST: Final = 1_000_000
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


# the table


def _setting(default: Any, read: Read, unit: str, meaning: str, *, hidden: bool = False) -> Any:
    metadata = {"read": read, "unit": unit, "meaning": meaning, "hidden": hidden, "family": False}
    return field(default=default, metadata=metadata)


def _family(read: Read, unit: str, meaning: str, *, hidden: bool = False) -> Any:
    """Return a field of settings that have a name of their own: ``SAGA_SERVICE_FLIGHTS``."""
    metadata = {"read": read, "unit": unit, "meaning": meaning, "hidden": hidden, "family": True}
    return field(default_factory=dict, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a coordinator is told when it starts; durations are seconds."""

    store: str = _setting(
        "sqlite:///saga.db", texts.store, "address",
        "Where sagas are kept: `sqlite:///` and a path, `mongodb://host/database`, which coordinators may share, or "
        "`memory://`, which forgets everything at the end.",
    )  # fmt: skip
    mongodb_driver: Literal["motor", "pymongo"] = _setting(
        "motor", texts.one_of("motor", "pymongo"), "motor or pymongo",
        "What speaks to MongoDB: Motor, or PyMongo's own asynchronous client.",
    )  # fmt: skip
    durability: Literal["full", "fast"] = _setting(
        "full", texts.one_of("full", "fast"), "full or fast",
        "`full` survives a loss of power; `fast` survives a killed process, but may lose the last moments.",
    )  # fmt: skip
    host: str = _setting(
        "127.0.0.1", texts.host, "address",
        "Address to listen on. Any other than loopback needs `SAGA_ADMIN_TOKEN`.",
    )  # fmt: skip
    port: int = _setting(7242, texts.number(0, 65_535), "port", "Port to listen on; 0 takes a free one.")
    public_url: str | None = _setting(
        None, texts.address, "address",
        "Address under which participants reach this coordinator for callbacks; by default host and port.",
    )  # fmt: skip
    allowed_hosts: tuple[str, ...] = _setting(
        (), texts.hosts, "names, with commas",
        "Names a request's Host may have besides loopback names, `SAGA_HOST` and `SAGA_PUBLIC_URL`; `*`: any.",
    )  # fmt: skip
    admin_token: str | None = _setting(
        None,
        texts.token,
        "text",
        "Bearer token that may do everything; without one only loopback is open.",
        hidden=True,
    )
    tls_certificate: Path | None = _setting(  # noqa: RUF009 - a frozen field
        None, texts.file, "file", "Certificate chain (PEM) to serve HTTPS with; needs `SAGA_TLS_KEY`."
    )
    tls_key: Path | None = _setting(  # noqa: RUF009 - a frozen field
        None, texts.file, "file", "Private key (PEM) of the certificate."
    )
    definitions: Path | None = _setting(  # noqa: RUF009 - a frozen field
        None, texts.folder, "folder", "Definitions (`.yaml`, `.yml`, `.json`) that are stored when it starts."
    )
    max_running: int = _setting(
        5000,
        texts.number(1, _MOST),
        "sagas",
        "Sagas held in memory at once; accepted ones beyond wait in the store.",
    )
    max_calls: int = _setting(
        96, texts.number(1, _MOST), "requests", "Requests to participants in flight at once."
    )
    node_ttl: float = _setting(
        5.0, texts.duration(0.5, 3600.0), "duration",
        "How long a coordinator may be silent, on a store that others share, before they take its sagas over.",
    )  # fmt: skip
    grace: float = _setting(
        10.0,
        texts.duration(0.0, 3600.0),
        "duration",
        "How long calls in flight are awaited when it is stopped.",
    )
    log_level: str = _setting(
        "info",
        texts.one_of("debug", "info", "warning", "error"),
        "level",
        "What is logged to standard error.",
    )
    service: Mapping[str, str] = _family(
        texts.address, "address", "Base address of a service, in place of the one in definitions."
    )
    secret: Mapping[str, str] = _family(
        texts.secret, "text", "What `${secret.<name>}` stands for in headers.", hidden=True
    )

    def __repr__(self) -> str:
        """Return the settings without what is secret."""
        values = {each.name: getattr(self, each.name) for each in SETTINGS if not each.hidden}
        values["store"] = texts.without_credentials(self.store)
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in values.items())})"

    @property
    def address(self) -> str:
        """Where it listens, as an address without a path."""
        scheme = "http" if self.tls_certificate is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def callback_url(self) -> str:
        """Where participants reach it, without a path."""
        return self.public_url if self.public_url is not None else self.address

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting, for whoever shows or reads it."""

    #: As the field is named.
    name: str
    default: Any
    unit: str
    meaning: str
    read: Read
    #: Its value is a secret and never shown.
    hidden: bool
    #: There is one for each name: ``SAGA_SERVICE_<NAME>``, ``--service NAME=ADDRESS``.
    family: bool

    @property
    def variable(self) -> str:
        """Return the name of its environment variable."""
        return f"SAGA_{self.name.upper()}" + ("_<NAME>" if self.family else "")

    @property
    def flag(self) -> str:
        """Return its flag on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def default_text(self) -> str:
        """Return the default as it would be written; empty for none."""
        if self.default is None or self.default == ():
            return ""
        return format_duration(self.default) if self.unit == "duration" else str(self.default)


SETTINGS: Final[tuple[Setting, ...]] = tuple(
    Setting(name=each.name, default=None if each.metadata["family"] else each.default, **each.metadata)
    for each in fields(Settings)
)


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


# reading all of them


def load_settings(
    environ: Mapping[str, str], flags: Mapping[str, str | Mapping[str, str]] | None = None
) -> Settings:
    """Return the settings of the environment; flags, by the name of their field, come before it.

    Raises:
        SettingsInvalid: with every problem that was found.
    """
    problems: list[Problem] = []
    found: dict[str, Any] = {}
    for setting in SETTINGS:
        given = (flags or {}).get(setting.name)
        read = _read_family(setting, environ, given) if setting.family else _read_one(setting, environ, given)
        for name, value in read:
            if isinstance(value, Problem):
                problems.append(value)
            elif setting.family:
                found.setdefault(setting.name, {})[name] = value
            else:
                found[setting.name] = value
    settings = replace(Settings(), **found)
    problems += _misfits(settings)
    if problems:
        raise SettingsInvalid(tuple(problems))
    return settings


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return the variables that look like settings and are none: misspelt, or of another release."""
    known = {setting.variable for setting in SETTINGS if not setting.family} | CLIENT_VARIABLES
    families = tuple(setting.variable.removesuffix("<NAME>") for setting in SETTINGS if setting.family)
    return sorted(
        name
        for name in environ
        if name.startswith("SAGA_") and name not in known and not name.startswith(families)
    )


_Found: TypeAlias = Iterator[tuple[str, Any]]


def _read_one(setting: Setting, environ: Mapping[str, str], given: Any) -> _Found:
    text = given if given is not None else environ.get(setting.variable)
    # An empty variable is how a shell or a compose file says that there is none.
    if text is not None and (text.strip() or given is not None):
        yield setting.name, _value(setting, setting.flag if given is not None else setting.variable, text)


def _read_family(setting: Setting, environ: Mapping[str, str], given: Any) -> _Found:
    prefix = setting.variable.removesuffix("<NAME>")
    texts = {
        name.removeprefix(prefix).lower(): (name, text)
        for name, text in environ.items()
        if name.startswith(prefix)
    }
    texts |= {name: (f"{setting.flag} {name}", text) for name, text in (given or {}).items()}
    for name, (where, text) in texts.items():
        if _NAME.fullmatch(name):
            yield name, _value(setting, where, text)
        else:
            yield (
                name,
                Problem(pointer=where, detail=f"{name[:80]!r} is no name: [a-z][a-z0-9_]*, at most 64"),
            )


def _value(setting: Setting, where: str, text: str) -> Any:
    try:
        return setting.read(text)
    except ValueError as error:
        return Problem(pointer=where, detail=str(error))


def _misfits(settings: Settings) -> Iterator[Problem]:
    if not settings.is_loopback and settings.admin_token is None:
        yield Problem(
            pointer="SAGA_HOST",
            detail=f"{settings.host} can be reached from other machines, and nothing would ask them for a "
            "token: set SAGA_ADMIN_TOKEN, or listen on 127.0.0.1",
        )
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        yield Problem(pointer="SAGA_TLS_KEY", detail="a certificate and its key are set together")
