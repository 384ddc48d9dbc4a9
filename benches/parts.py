"""All measurements by their names. The whole way has a form of its own, and is converted into that of the others."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from benches import (
    backlog,
    ceilings,
    durable,
    fixtures,
    growth,
    intervals,
    latency,
    opening,
    parser,
    refusals,
    resources,
    scheduling,
)
from benches.fixtures import BARE
from benches.results import Measure, Part, Table
from benches.servers import ROOT

WHOLE_WAY_TITLE: Final = "CPU of a request by server"


def whole_way_part(result: dict[str, Any]) -> Part:
    """What ``benches.whole_way --json`` wrote: medians of its rounds."""
    table: Table = {}
    floor = statistics.median(result["servers"][BARE]["cpu"])
    for name, rounds in result["servers"].items():
        cpu = statistics.median(rounds["cpu"])
        row = {"CPU us/request": cpu, "lowest us": min(rounds["cpu"]), "highest us": max(rounds["cpu"])}
        row |= {"to bare": cpu / floor, "requests/s": statistics.median(rounds["rate"])}
        row["driver busy"] = statistics.median(rounds["driver_busy"])
        if rounds.get("forwarder_cpu"):
            row["forwarder's own us"] = statistics.median(rounds["forwarder_cpu"])
        table[name] = row
    return {
        "figures": {WHOLE_WAY_TITLE: table},
        "goals": result.get("goals", []),
        "left_out": result.get("left_out", {}),
        "versions": result["versions"],
    }


def whole_way(directory: Path, quick: bool) -> Part:
    """CPU per request of every server; without Kafka of those that need none."""
    file = directory / "whole_way.json"
    command = [sys.executable, "-m", "benches.whole_way", "--json", str(file)]
    command += ["--rounds", "1", "--requests", "5000"] if quick else []
    command += [] if fixtures.no_kafka() else ["--kafka"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"benches.whole_way ended with {done.returncode}: see its output above")
    return whole_way_part(json.loads(file.read_text()))


PARTS: Final[dict[str, Measure]] = {
    "parser": parser.measure,
    "whole_way": whole_way,
    "latency": latency.measure,
    "durable": durable.measure,
    "resources": resources.measure,
    "growth": growth.measure,
    "scheduling": scheduling.measure,
    "backlog": backlog.measure,
    "refusals": refusals.measure,
    "opening": opening.measure,
    "intervals": intervals.measure,
    "ceilings": ceilings.measure,
}
