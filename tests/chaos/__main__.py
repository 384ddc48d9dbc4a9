"""``python -m tests.chaos``: see docs/chaos.md."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

INSIDE = "CHAOS_INSIDE"


def enter_namespaces() -> None:
    """Continue in our own namespaces of mounts and processes, so that nothing is left over after any end."""
    if INSIDE in os.environ:
        return
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        command += ["--user", "--map-root-user"]
    if subprocess.run([*command, "true"], check=False, capture_output=True).returncode != 0:
        raise click.ClickException(f"small disks need root, or a system where this works: {' '.join(command)} true")
    # unshare itself ignores SIGTERM; it dies with us.
    whole = ["setpriv", "--pdeathsig", "KILL", *command, sys.executable, "-m", "tests.chaos", *sys.argv[1:]]
    sys.exit(subprocess.run(whole, check=False, env=os.environ | {INSIDE: "1"}).returncode)


@click.command()
@click.option("--seed", type=int, help="Makes the order and the luck of a run; a random one by default.")
@click.option("--seconds", default=0.0, help="Go on until so many seconds are over; each fault comes once at least.")
@click.option("--only", default="", help="The faults by name, with commas, in this order.")
@click.option("--short", is_flag=True, help="What CI runs: about two minutes.")
@click.option("--keep", type=click.Path(path_type=Path), help="A directory, not there yet, that keeps all logs.")
@click.option("--markdown", is_flag=True, help="Print the table in Markdown, too.")
@click.option("--list", "listing", is_flag=True, help="List the faults.")
def main(
    seed: int | None, seconds: float, only: str, short: bool, keep: Path | None, markdown: bool, listing: bool
) -> None:
    """Break everything around pixelcore under load, and count lost and repeated events. Exits 1 if there are any."""
    from tests.chaos import table
    from tests.chaos.fault import FAULTS
    from tests.chaos.gateways import ChaosError
    from tests.chaos.run import run, short_schedule

    if listing:
        for fault in FAULTS.values():
            click.echo(f"{fault.name:18}  {fault.title}")
        return
    enter_namespaces()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    begun = time.monotonic()
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    rng = random.Random(seed)
    if only:
        if unknown := [name for name in only.split(",") if name not in FAULTS]:
            raise click.ClickException(f"--only: no fault is named {unknown[0]}; see --list")
        faults = [FAULTS[name] for name in only.split(",")]
    else:
        faults = short_schedule(rng) if short else rng.sample(list(FAULTS.values()), len(FAULTS))

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - begun:6.1f} {text}", markup=False)

    with tempfile.TemporaryDirectory(prefix="pixelcore-chaos-") as name:
        try:
            report = run(keep or Path(name), rng, faults, seconds, say)
        except ChaosError as error:
            raise click.ClickException(f"seed {seed}: {error}") from None
    table.show(report, f"Seed {seed}, {time.monotonic() - begun:.0f} s", console)
    if markdown:
        click.echo(table.markdown(report))
    sys.exit(0 if report.ok else 1)


main()
