"""The page: what was done, what happened, and whether all is well; as text, JSON or markdown."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.campaign.coordinators import ROOT
from tests.campaign.tally import ENDS, FAULTS, SEEN, Tally

#: Troubles and findings that are shown.
SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Hunt:
    """How a mutant fared."""

    name: str
    meaning: str
    #: Kills after which the judge had found it, None: it escaped.
    kills: int | None
    #: What the judge said first.
    finding: str
    seconds: float
    tried: int


@dataclass(kw_only=True)
class Page:
    """All that a campaign has to say."""

    seed: int
    tally: Tally = field(default_factory=Tally)
    seconds: float = 0.0
    #: Seconds and number of the kills of warm forks.
    killing: float = 0.0
    warm: int = 0
    findings: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    hunts: list[Hunt] = field(default_factory=list)
    #: Whether there was a campaign at all, and not only mutants.
    played: bool = False

    @property
    def wanting(self) -> list[str]:
        """Return what had to happen and did not."""
        return list(self.tally.wanting()) if self.played else []

    @property
    def ready_after(self) -> dict[str, int]:
        """Return how long a restarted coordinator took to answer, milliseconds."""
        times = sorted(self.tally.ready)
        shares = {"p50": 0.5, "p99": 0.99}
        return {
            name: round(1000 * times[int(share * (len(times) - 1))])
            for name, share in shares.items()
            if times
        }

    @property
    def well(self) -> bool:
        """Whether everything is as promised, and was really tried."""
        escaped = any(hunt.kills is None for hunt in self.hunts)
        return not (self.findings or self.troubles or self.wanting or escaped)

    def document(self) -> dict[str, Any]:
        """Return the page as JSON."""
        tally = self.tally
        return {
            "commit": commit(),
            "machine": machine(),
            "seed": self.seed,
            "well": self.well,
            "kills": tally.kills,
            "cold_starts": tally.cold,
            "kills_per_second": round(self.warm / self.killing, 1) if self.killing else None,
            "ready_after_ms": self.ready_after,
            "share_in_flight": round(tally.in_flight / tally.kills, 3) if tally.kills else None,
            "sagas": {end: tally.ends[end] for end in sorted({*ENDS, *tally.ends})},
            "requests": tally.requests,
            "faults": {fault: tally.faults[fault] for fault in (*FAULTS, SEEN)},
            "takeover_entries": tally.takeovers,
            "inconsistent": tally.inconsistent,
            "lost_acknowledgements": tally.lost,
            "never_happened": self.wanting,
            "findings": self.findings[:SHOWN],
            "troubles": self.troubles[:SHOWN],
            "mutants": {
                hunt.name: {
                    "caught_after_kills": hunt.kills,
                    "seconds": round(hunt.seconds),
                    "by": hunt.finding,
                }
                for hunt in self.hunts
            },
            "seconds": round(self.seconds, 1),
        }

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield the page as names and values."""
        said = self.document()
        yield "all is well" if self.well else "NOT WELL", ""
        for name in ("commit", "machine", "seed"):
            yield name, str(said[name])
        if self.played:
            yield from self._played(said)
        for hunt in self.hunts:
            fate = (
                f"caught after {hunt.kills} kills"
                if hunt.kills is not None
                else f"ESCAPED {hunt.tried} kills"
            )
            yield f"mutant {hunt.name}", f"{fate} ({hunt.seconds:.0f} s): {hunt.finding or hunt.meaning}"
        yield "duration", f"{self.seconds:.0f} s"
        for trouble in self.troubles[:SHOWN]:
            yield "TROUBLE", trouble

    def _played(self, said: dict[str, Any]) -> Iterator[tuple[str, str]]:
        tally = self.tally
        yield "kills", f"{tally.kills} ({tally.cold} of cold starts), {said['kills_per_second']} a second"
        ready = ", ".join(f"{name} {value} ms" for name, value in said["ready_after_ms"].items())
        yield "first answer after a restart", ready
        yield "found a saga in flight", f"{said['share_in_flight']:.1%}" if tally.kills else "-"
        yield "sagas", ", ".join(f"{count} {end}" for end, count in said["sagas"].items())
        yield "requests to participants", str(tally.requests)
        yield "takeover entries", str(tally.takeovers)
        for fault in (*FAULTS, SEEN):
            yield f"  {fault}", str(tally.faults[fault])
        yield "inconsistent sagas", str(tally.inconsistent)
        yield "lost acknowledgements", str(tally.lost)
        for finding in self.findings[:SHOWN]:
            yield "INCONSISTENT", finding
        for what in said["never_happened"]:
            yield "NOT TRIED", what

    def text(self) -> str:
        """Return the page for a terminal."""
        return "\n".join(f"{name:<46} {value}".rstrip() for name, value in self.lines())

    def markdown(self) -> str:
        """Return the page as a table."""
        rows = "\n".join(f"| {name.strip()} | {value.replace('|', '/')} |" for name, value in self.lines())
        return f"# Crash campaign\n\n| | |\n|---|---|\n{rows}\n"


def commit() -> str:
    """Return the commit that is checked out, marked when the tree has been changed since."""
    command = ("git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def machine() -> str:
    """Return what it ran on."""
    return f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
