"""Every failure of a command is one line with the remedy, and an exit code (contract, section 7).

A row is a command, its environment, the line, and the code. No row prints a traceback, or makes files that were not requested.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kafka.broker import free_port
from tests.support.processes import WITHOUT_RIGHTS
from tests.support.servers import clean_environment

KAFKA = "-X bootstrap.servers=127.0.0.1:1"
SERVE = "serve --bind 127.0.0.1:{free}"
LISTENS = "another server or gateway already listens there: stop it, or choose another port"
WRITES = "No such file or directory; a gateway creates it at its start"
READS = "Permission denied: only the gateway's user may read it"
DATA = "PIXELCORE_DATA_DIR"

Row = tuple[str, str, dict[str, str], str, int]
FAILURES: list[Row] = [
    # name, command, environment, line, code
    ("no port", "serve --bind localhost", {}, "PIXELCORE_BIND: must be HOST:PORT, such as 127.0.0.1:8080, not 'localhost'", 1),
    ("no host", "serve", {"PIXELCORE_BIND": ":80"}, "PIXELCORE_BIND: must be HOST:PORT, such as 127.0.0.1:8080, not ':80'", 1),
    ("a digit that is none", "serve --bind 0.0.0.0:²", {}, "PIXELCORE_BIND: must be HOST:PORT, such as 127.0.0.1:8080, not '0.0.0.0:²'", 1),
    ("a name that nobody has", "serve --bind no-such.invalid:8080", {}, "PIXELCORE_BIND: no-such.invalid:8080: …", 1),
    ("a name that none can be", f"serve --bind {'x' * 64}.example:8080", {}, "PIXELCORE_BIND: …:8080: …", 1),
    ("a port that is taken", "serve --bind 127.0.0.1:{taken}", {}, f"PIXELCORE_BIND: 127.0.0.1:{{taken}}: {LISTENS}", 1),
    ("a taken port of a name", "serve --bind localhost:{taken}", {}, f"PIXELCORE_BIND: 127.0.0.1:{{taken}}: {LISTENS}", 1),
    ("another machine's address", "serve --bind 192.0.2.1:8080", {}, "PIXELCORE_BIND: 192.0.2.1:8080: this machine does not have this address: 0.0.0.0 listens on all of its addresses", 1),
    ("an address of one interface", "serve --bind [fe80::1%lo]:8080", {}, "PIXELCORE_BIND: [fe80::1%lo]:8080: is an address of one interface, which is not supported: [::] stands for all", 1),
    ("a platform's port that is not a number", "serve", {"PORT": "http"}, "PORT: must be a port of 1 to 65535, not 'http'; PIXELCORE_BIND overrides it", 1),
    ("no workers", "serve --workers 0", {}, "PIXELCORE_WORKERS: must be a whole number >= 1, not '0'", 1),
    ("workers that are no number", "serve", {"PIXELCORE_WORKERS": "all"}, "PIXELCORE_WORKERS: must be a whole number, not 'all'", 1),
    ("a setting that is none", "serve", {"PIXELCORE_HOST": "x"}, "PIXELCORE_HOST: no such setting", 1),
    ("a misspelt setting", "serve", {"PIXELCORE_DATADIR": "x"}, "PIXELCORE_DATADIR: no such setting; did you mean PIXELCORE_DATA_DIR?", 1),
    ("a setting that is not UTF-8", "serve", {"PIXELCORE_TOPIC": "\udcff"}, "PIXELCORE_TOPIC: must be UTF-8, not '\\udcff'", 1),
    ("no key file", f"{SERVE} --keys-file typo.toml", {}, "PIXELCORE_KEYS_FILE: typo.toml: No such file or directory", 1),
    ("an empty key file", f"{SERVE} --keys-file file", {}, "PIXELCORE_KEYS_FILE: file: line 1: no [[pipeline]]", 1),
    ("a file for the data", f"{SERVE} --data-dir file", {}, f"{DATA}: file: is not a directory", 1),
    ("data below a file", f"{SERVE} --data-dir file/x", {}, f"{DATA}: file/x: Not a directory", 1),
    ("data where nobody may write", f"{SERVE} --data-dir locked", {}, f"{DATA}: locked: is not writable", 1),
    ("data where nobody may look", f"{SERVE} --data-dir locked/x", {}, f"{DATA}: locked/x: Permission denied", 1),
    ("a taken port for metrics", f"{SERVE} --metrics-address 127.0.0.1:{{taken}}", {}, f"PIXELCORE_METRICS_ADDRESS: 127.0.0.1:{{taken}}: {LISTENS}", 1),
    ("a taken port for the page", f"{SERVE} --inspect --inspect-address 127.0.0.1:{{taken}}", {}, f"PIXELCORE_INSPECT_ADDRESS: 127.0.0.1:{{taken}}: {LISTENS}", 1),
    ("a property that is none", f"{SERVE} {KAFKA} -X no.such=1", {}, 'PIXELCORE_KAFKA_NO_SUCH: No such configuration property: "no.such"', 1),
    ("tail: no directory", "tail --data-dir typo", {}, f"{DATA}: typo: {WRITES}", 1),
    ("tail: a file", "tail --data-dir file", {}, f"{DATA}: file: Not a directory", 1),
    ("tail: another's directory", "tail --data-dir empty", {}, f"{DATA}: empty: no gateway has written to it: it has no events/", 1),
    ("tail: a directory of somebody", "tail --data-dir locked", {}, f"{DATA}: locked: {READS}", 1),
    ("tail: below it", "tail -f --data-dir locked/x", {}, f"{DATA}: locked/x: {READS}", 1),
    ("tail: journals of somebody", "tail --data-dir secret", {}, "secret/events: Permission denied", 1),
    ("forward: no Kafka", "forward --data-dir data", {}, "PIXELCORE_KAFKA_BOOTSTRAP_SERVERS: is not set…", 1),
    ("forward: no directory", f"forward {KAFKA} --data-dir typo", {}, f"{DATA}: typo: {WRITES}", 1),
    ("forward: another's directory", f"forward {KAFKA} --data-dir empty", {}, f"{DATA}: empty: no gateway has written to it: it has no events/", 1),
    ("forward: a directory of somebody", f"forward {KAFKA} --data-dir locked", {}, f"{DATA}: locked: {READS}", 1),
    ("replay: no directory", "replay --data-dir typo", {}, f"{DATA}: typo: {WRITES}", 1),
    ("replay: another's directory", "replay --dry-run --data-dir empty", {}, f"{DATA}: empty: no gateway has written to it: it has no events/", 1),
    ("replay: no key file", "replay --data-dir data --keys-file typo.toml", {}, "PIXELCORE_KEYS_FILE: typo.toml: No such file or directory", 1),
    ("check: a setting", "check", {"PIXELCORE_FSYNC": "weekly"}, "PIXELCORE_FSYNC: must be 'never', 'always', or an interval of 10ms to 60s such as '1s', not 'weekly'", 2),
    ("url: no event", "url track --key k", {}, "event: a track needs an event", 1),
    ("url: an event too much", "url page --key k --event e", {}, "event: only a track has this member, and the type is page", 1),
    ("url: a key", "url page --key k!", {}, "key: 'k!' is not 1 to 64 of A-Z a-z 0-9 _ -", 1),
    ("url: a base", "url page --key k --base x", {}, "base: 'x' is not an http(s) URL of ASCII characters without query and fragment", 1),
    ("url: seconds", "url page --key k --timestamp 1", {}, "timestamp: '1' is not Unix milliseconds since 2000; are they seconds?", 1),
    ("url: a campaign", "url page --key k --campaign x=y", {}, "campaign: 'x' is not one of source, medium, name, term, content, id", 1),
]  # fmt: skip

NOTHING: list[Row] = [
    ("no events", "tail --data-dir data", {}, "no events in data: nothing has arrived, or all of it was shipped and deleted", 3),
    ("no such events", "tail --data-dir data --key k", {}, "no such events in data: nothing has arrived, or all of it was shipped and deleted", 3),
    ("no rejections", "tail --data-dir data --rejected", {}, "no rejections in data: nothing has arrived, or all of it was shipped and deleted", 3),
    ("nothing to replay", "replay --data-dir data", {}, "nothing to replay in data: no such rejection is left", 3),
]  # fmt: skip

USAGE: list[Row] = [
    ("no such command", "no-such", {}, "No such command 'no-such'.", 2),
    ("no such flag", "tail --folow", {}, "No such option…--folow…", 2),
    ("a flag without its value", "serve --bind", {}, "Option '--bind' requires an argument.", 2),
    ("an argument too much", "tail data", {}, "Got unexpected extra argument (data)", 2),
    ("a property without a value", "serve -X debug", {}, "Invalid value for -X: 'debug' is not PROPERTY=VALUE", 2),
    ("a property without a name", "serve -X =1", {}, "Invalid value for -X: '=1' is not PROPERTY=VALUE", 2),
    ("fewer lines than none", "tail -n -1", {}, "Invalid value for '-n' / '--lines': -1 is not in the range x>=0.", 2),
    ("a time", "replay --since yesterday", {}, "Invalid value for '--since': 'yesterday' is not like 2025-02-25T14:30:00Z or 2025-02-25", 2),
    ("a time before all times", "replay --until 0001-01-01T00:00:00+23:00", {}, "Invalid value for '--until': …", 2),
    ("a reason", "replay --reason no", {}, "Invalid value for '--reason': 'no' is not one of …", 2),
    ("seconds", "check --timeout 0", {}, "Invalid value for '--timeout': 0.0 is not in the range 1<=x<=300.", 2),
    ("no key", "url track", {}, "Missing option '--key'.", 2),
    ("a type", "url open", {}, "Invalid value for '{{track|page|identify|group}}': 'open' is not one of 'track', 'page', 'identify', 'group'.", 2),
    ("a path", "url page --key k -p x", {}, "Invalid value for -p: is not PATH=VALUE", 2),
    ("JSON", "url page --key k -P x", {}, "Invalid value for -P: is not JSON: …", 2),
    ("a model", "schema x", {}, "Invalid value for '[event|rejection|asyncapi]': 'x' is not one of 'event', 'rejection', 'asyncapi'.", 2),
]  # fmt: skip


def lowest_free_port() -> int:
    """Ports from this one on need no rights. It is 0 in a container of Docker, where low ports are allowed."""
    return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())


if sys.platform == "linux" and lowest_free_port() > 1:
    low = f"127.0.0.1:{min(80, lowest_free_port() - 1)}"
    why = "a port below 1024 needs CAP_NET_BIND_SERVICE: choose a higher one"
    FAILURES.append(("a low port", f"serve --bind {low}", {}, f"PIXELCORE_BIND: {low}: {why}", 1))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with an empty data directory, a file in place of one, and unreadable files."""
    root = tmp_path_factory.mktemp("errors")
    (root / "file").touch()
    for name in ("data/events", "data/rejections", "empty", "locked", "secret/events"):
        (root / name).mkdir(parents=True)
    closed = (root / "locked", root / "secret" / "events")
    for directory in closed:
        directory.chmod(0)
    yield root
    for directory in closed:
        directory.chmod(0o700)


def listing(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def end(here: Path, command: str, environment: dict[str, str]) -> tuple[int, str, list[str], int]:
    """The code, what was printed and complained of, and the port that was taken."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken, free = server.getsockname()[1], free_port()
        ended = subprocess.run(
            [*WITHOUT_RIGHTS, sys.executable, "-m", "pixelcore", *command.format(taken=taken, free=free).split(" ")],
            env=clean_environment({"PIXELCORE_DATA_DIR": "data", **environment}),
            cwd=here,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
    return ended.returncode, ended.stdout, ended.stderr.splitlines(), taken


def is_like(line: str, expected: str) -> bool:
    """Whether a line is the expected one, in which ``…`` is anything."""
    return re.fullmatch(".*".join(map(re.escape, expected.split("…"))), line) is not None


@pytest.mark.parametrize(
    ("command", "environment", "line", "code"), [pytest.param(*row[1:], id=row[0]) for row in FAILURES]
)
def test_a_failure_is_one_line(here: Path, command: str, environment: dict[str, str], line: str, code: int) -> None:
    before = listing(here)
    returned, printed, complaints, taken = end(here, command, environment)
    assert (returned, printed, len(complaints)) == (code, "", 1), complaints
    assert is_like(complaints[0], f"Error: {line}".replace("{taken}", str(taken))), complaints[0]
    assert listing(here) == before, "a refusal leaves nothing behind"


@pytest.mark.parametrize(
    ("command", "environment", "line", "code"), [pytest.param(*row[1:], id=row[0]) for row in NOTHING]
)
def test_nothing_to_do_is_one_line(here: Path, command: str, environment: dict[str, str], line: str, code: int) -> None:
    returned, _, complaints, _ = end(here, command, environment)
    assert (returned, complaints) == (code, [line])


@pytest.mark.parametrize(
    ("command", "environment", "line", "code"), [pytest.param(*row[1:], id=row[0]) for row in USAGE]
)
def test_wrong_usage_ends_in_one_line(
    here: Path, command: str, environment: dict[str, str], line: str, code: int
) -> None:
    """Before it the usage, and how to ask for help."""
    before = listing(here)
    returned, printed, complaints, _ = end(here, command, environment)
    assert (returned, printed) == (code, "")
    assert [complaint.partition(" ")[0] for complaint in complaints] in (["Usage:", "Try", "", "Error:"], ["Error:"])
    assert is_like(complaints[-1], f"Error: {line}".format()), complaints[-1]
    assert listing(here) == before
