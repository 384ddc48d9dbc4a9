"""Opens by hour from what `land_in_duckdb.py` landed, those that no person made apart: a table and a plot.

    python examples/opens_by_hour.py --database events.duckdb --plot opens.svg

Needs ``pip install duckdb matplotlib``.
"""

from __future__ import annotations

import argparse
from datetime import datetime

import duckdb
import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

# `automated` is what mail scanners, prefetches and crawlers say of themselves: opens that nobody saw.
QUERY = """
SELECT date_trunc('hour', happened) AS hour,
    count(*) FILTER (NOT automated) AS opens,
    count(*) FILTER (automated) AS automated,
    count(DISTINCT coalesce(user_id, anonymous_id)) FILTER (NOT automated) AS people
FROM events WHERE type = 'track' AND event = ? GROUP BY hour ORDER BY hour
"""


def opens(database: str, event: str) -> list[tuple[datetime, int, int, int]]:
    """(hour, opens, automated ones, people) by hour."""
    with duckdb.connect(database, read_only=True) as db:
        return db.execute(QUERY, [event]).fetchall()


def plot(rows: list[tuple[datetime, int, int, int]], event: str, path: str) -> None:
    """One bar an hour, the automated opens on top."""
    hours = [f"{row[0]:%d %b %H:00}" for row in rows]
    people, automated = [row[1] for row in rows], [row[2] for row in rows]
    figure, axes = pyplot.subplots(figsize=(8, 3), layout="constrained")
    axes.bar(hours, people, label="by people", color="#2b6cb0")
    axes.bar(hours, automated, bottom=people, label="automated", color="#cbd5e0")
    axes.set_title(f"{event}, by hour (UTC)")
    axes.tick_params(axis="x", rotation=60)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Opens by hour, those that no person made apart.")
    parser.add_argument("--database", default="events.duckdb")
    parser.add_argument("--event", default="Email Opened")
    parser.add_argument("--plot", default="opens.svg", help="where to draw them, SVG")
    arguments = parser.parse_args()
    found = opens(arguments.database, arguments.event)
    print(f"{'hour':<17}{'opens':>8}{'automated':>11}{'people':>8}")
    for hour, by_people, by_machines, readers in found:
        print(f"{hour:%Y-%m-%d %H:%M} {by_people:>8}{by_machines:>11}{readers:>8}")
    plot(found, arguments.event, arguments.plot)
