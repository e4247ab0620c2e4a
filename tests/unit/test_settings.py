"""Settings: from the environment and flags, with every problem at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from saga.errors import SettingsInvalid
from saga.settings import SETTINGS, Settings, is_loopback, load_settings, unknown_variables


def problems(environ: dict[str, str], flags: dict[str, str] | None = None) -> dict[str, str]:
    """Return what is wrong, by variable or flag."""
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(environ, flags)
    return {each.pointer: each.detail for each in caught.value.problems}


def test_nothing_said_is_the_defaults() -> None:
    """A plain start listens on loopback and keeps a file."""
    settings = load_settings({})
    assert settings == Settings()
    assert (settings.store, settings.address) == ("sqlite:///saga.db", "http://127.0.0.1:7242")
    assert settings.callback_url == "http://127.0.0.1:7242"


def test_the_environment_is_read(tmp_path: Path) -> None:
    """Durations as text, names in capitals, empty variables as none."""
    settings = load_settings(
        {
            "SAGA_STORE": "memory://",
            "SAGA_PORT": "0",
            "SAGA_DURABILITY": "FAST",
            "SAGA_GRACE": "1500ms",
            "SAGA_NODE_TTL": "2s",
            "SAGA_MAX_RUNNING": "10",
            "SAGA_DEFINITIONS": str(tmp_path),
            "SAGA_ALLOWED_HOSTS": "a.example, B.example:80",
            "SAGA_PUBLIC_URL": "https://saga.example.com/base/",
            "SAGA_SERVICE_FLIGHTS": "http://flights:80/",
            "SAGA_SECRET_API_KEY": "s3cret",
            "SAGA_ADMIN_TOKEN": "",
            "PATH": "/bin",
        }
    )
    assert (settings.store, settings.port, settings.durability, settings.grace) == (
        "memory://",
        0,
        "fast",
        1.5,
    )
    assert (settings.definitions, settings.allowed_hosts) == (tmp_path, ("a.example", "b.example:80"))
    assert settings.callback_url == "https://saga.example.com/base"
    assert (settings.service, settings.secret) == ({"flights": "http://flights:80"}, {"api_key": "s3cret"})
    assert settings.admin_token is None


def test_flags_come_before_the_environment() -> None:
    """Those of a family are added by name."""
    settings = load_settings(
        {"SAGA_PORT": "1", "SAGA_SERVICE_A": "http://a", "SAGA_SERVICE_B": "http://b"},
        {"port": "2", "service": {"b": "http://c"}},
    )
    assert (settings.port, settings.service) == (2, {"a": "http://a", "b": "http://c"})


def test_every_problem_is_found_at_once() -> None:
    """Each under the name a person has to look for."""
    found = problems(
        {
            "SAGA_STORE": "postgres://x",
            "SAGA_PORT": "70000",
            "SAGA_GRACE": "10",
            "SAGA_DURABILITY": "perhaps",
            "SAGA_DEFINITIONS": "/nowhere",
            "SAGA_PUBLIC_URL": "saga.example.com",
            "SAGA_SERVICE_FLIGHTS": "ftp://x",
            "SAGA_SECRET_1": "x",
            "SAGA_SECRET_KEY": "a\nb",
            "SAGA_ADMIN_TOKEN": "a b",
            "SAGA_TLS_KEY": "/nowhere",
        },
        {"max_running": "0"},
    )
    assert set(found) == {
        "SAGA_STORE", "SAGA_PORT", "SAGA_GRACE", "SAGA_DURABILITY", "SAGA_DEFINITIONS", "SAGA_PUBLIC_URL",
        "SAGA_SERVICE_FLIGHTS", "SAGA_SECRET_1", "SAGA_SECRET_KEY", "SAGA_ADMIN_TOKEN", "SAGA_TLS_KEY",
        "--max-running",
    }  # fmt: skip
    assert "sqlite:///saga.db" in found["SAGA_STORE"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "saga.internal"])
def test_an_open_address_needs_a_token(host: str) -> None:
    """Nothing is served to other machines without one."""
    assert "SAGA_ADMIN_TOKEN" in problems({"SAGA_HOST": host})["SAGA_HOST"]
    assert load_settings({"SAGA_HOST": host, "SAGA_ADMIN_TOKEN": "t"}).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_is_open(host: str) -> None:
    """Whatever it is called."""
    settings = load_settings({"SAGA_HOST": host})
    assert settings.is_loopback
    assert is_loopback(settings.host)


def test_a_certificate_and_its_key_are_set_together(tmp_path: Path) -> None:
    """One alone is a mistake."""
    file = tmp_path / "chain.pem"
    file.touch()
    assert "SAGA_TLS_KEY" in problems({"SAGA_TLS_CERTIFICATE": str(file)})


def test_secrets_are_not_shown() -> None:
    """Not in a log that shows the settings."""
    settings = load_settings({"SAGA_ADMIN_TOKEN": "hush", "SAGA_SECRET_KEY": "quiet"})
    assert "hush" not in repr(settings)
    assert "quiet" not in repr(settings)
    address = repr(
        Settings(store="mongodb://ada:sword/fish@db.example.com/sagas?tlsCertificateKeyFilePassword=x")
    )
    assert "store='mongodb://db.example.com/sagas'" in address


def test_misspelt_variables_are_noticed() -> None:
    """Those of the client are not."""
    environ = {"SAGA_PROT": "1", "SAGA_URL": "x", "SAGA_TOKEN": "x", "SAGA_PORT": "1", "SAGA_SECRET_X": "x"}
    assert unknown_variables(environ) == ["SAGA_PROT"]


def test_every_setting_says_its_unit_and_meaning() -> None:
    """And its default can be read as it is written."""
    for setting in SETTINGS:
        assert setting.unit
        assert setting.meaning.endswith(".")
        if setting.default_text and not setting.family:
            assert setting.read(setting.default_text) == setting.default
