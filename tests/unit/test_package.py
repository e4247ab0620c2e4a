"""What ``import saga`` gives."""

from __future__ import annotations

import subprocess
import sys

import saga


def test_everything_the_package_names_is_there() -> None:
    """Each name of ``saga.__all__`` can be had, and no other."""
    assert all(getattr(saga, name) is not None for name in saga.__all__)
    assert not hasattr(saga, "Workflow")


def test_importing_the_package_loads_no_http_library() -> None:
    """A definition in Python needs neither aiohttp nor a store nor OpenTelemetry."""
    code = (
        "import saga, sys; saga.SagaDefinition; "
        "print([m for m in ('aiohttp', 'sqlite3', 'opentelemetry', 'tenacity') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert printed.strip() == "[]"


def test_a_definition_in_python_gives_the_same_document_as_yaml() -> None:
    """Both normalise to the same JSON."""
    made = saga.SagaDefinition(
        name="booking",
        services={"flights": saga.Service(url="http://127.0.0.1:9101")},
        steps=(
            saga.Step(
                name="reserve",
                action=saga.Action(service="flights", path="/reservations", body={"id": "${key}"}),
                compensation=saga.Compensation(method="DELETE", path="/reservations/${key}"),
            ),
        ),
    )
    written = {
        "name": "booking",
        "services": {"flights": {"url": "http://127.0.0.1:9101"}},
        "steps": [
            {
                "name": "reserve",
                "action": {"service": "flights", "path": "/reservations", "body": {"id": "${key}"}},
                "compensation": {"method": "DELETE", "path": "/reservations/${key}"},
            }
        ],
    }

    assert (
        saga.parse_definition(made).definition.document()
        == saga.parse_definition(written).definition.document()
    )
