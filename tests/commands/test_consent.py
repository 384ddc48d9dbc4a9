"""``pixelcore consent`` sets and shows ceilings, with and without Kafka, and never reveals a secret or a person."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from pixelcore.commands import checks
from pixelcore.commands.checks.findings import Setup
from pixelcore.settings import load

from tests.kafka.broker import Broker, External
from tests.kafka.topics import Reader
from tests.support.consents import KEYS, OTHER, SECRET, gateway, key_of, listed, now_ms, record
from tests.support.servers import Serve, Server, clean_environment, kafka_settings
from tests.support.waiting import stays, wait_for

NOBODY = "127.0.0.1:1"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text(KEYS + '\n[[pipeline]]\nid = "pip_app"\nkey = "dk_test_app"\nconsent = "aid"\nscope = "app"\n')
    return path


def run(cwd: Path, environment: Mapping[str, str], *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "pixelcore", "consent", *arguments],
        env=clean_environment({"PIXELCORE_DATA_DIR": str(cwd / "data"), **environment}),
        cwd=cwd,
        input=stdin,
        capture_output=True,
        timeout=150,
        check=False,
    )
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


SECONDS = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def test_a_ceiling_is_set_and_shown_without_kafka(tmp_path: Path, keys: Path) -> None:
    where, environment = tmp_path, {"PIXELCORE_KEYS_FILE": str(keys)}
    person = ("--pipeline", "pip_news", "--uid", "user_1")
    assert run(where, environment, "set", *person, "--mode", "individual")[0] == 0
    code, out, err = run(where, environment, "set", *person, "--mode", "none")
    assert (code, out) == (0, "")
    assert re.fullmatch(rf"1 uid: none in scope pip_news since {SECONDS}, to .*/data\n", err)
    for asked, expected in [
        (person, rf"pip_news: none since {SECONDS}; from this data directory\n"),
        (("--scope", "pip_news", "--uid", " user_1 "), rf"pip_news: none since {SECONDS}; from this data directory\n"),
        (("--pipeline", "pip_news", "--uid", "user_2"), r"pip_news: no record: .*; from this data directory\n"),
        (("--scope", "other", "--uid", "user_1"), r"other: no record: .*\n"),
        (("--pipeline", "pip_app", "--aid", "user_1"), r"app: no record: .*\n"),
    ]:
        assert re.fullmatch(expected, run(where, environment, "show", *asked)[1]), asked
    shown = run(where, environment, "show")[1]
    assert re.search(r"^list +2 records", shown, re.MULTILINE)
    assert "user_1" not in shown
    secret = (tmp_path / "data" / "consents" / "secret").read_text().strip()
    assert secret.startswith("local:")
    assert (tmp_path / "data" / "consents" / "secret").stat().st_mode & 0o777 == 0o600
    assert secret[6:] not in shown
    # No file contains an id.
    for path in (tmp_path / "data").rglob("*"):
        assert path.is_dir() or b"user_1" not in path.read_bytes(), path


WRONG = [
    # name, arguments, environment, exit code, what the last line says
    ("no scope", ("set", "--uid", "a", "--mode", "none"), {}, 2, "one of --pipeline and --scope"),
    (
        "two scopes",
        ("set", "--scope", "s", "--pipeline", "p", "--uid", "a", "--mode", "none"),
        {},
        2,
        "one of --pipeline",
    ),
    ("nobody", ("set", "--scope", "s", "--mode", "none"), {}, 2, "one of --uid, --aid and --file"),
    ("two persons", ("set", "--scope", "s", "--uid", "a", "--aid", "b", "--mode", "none"), {}, 2, "one of --uid"),
    ("an empty id", ("set", "--scope", "s", "--uid", " ", "--mode", "none"), {}, 2, "the id is empty"),
    ("no mode", ("set", "--scope", "s", "--uid", "a"), {}, 2, "--mode"),
    ("another mode", ("set", "--scope", "s", "--uid", "a", "--mode", "off"), {}, 2, "--mode"),
    ("a file of unknown ids", ("set", "--scope", "s", "--file", "-", "--mode", "none"), {}, 2, "--kind"),
    (
        "an empty file",
        ("set", "--scope", "s", "--kind", "uid", "--file", "-", "--mode", "none"),
        {},
        1,
        "the file has no ids",
    ),
    (
        "an empty scope",
        ("set", "--scope", "", "--uid", "a", "--mode", "none"),
        {},
        1,
        "its scope is not 1 to 255 bytes",
    ),
    ("another kind", ("set", "--pipeline", "pip_news", "--aid", "a", "--mode", "none"), {}, 2, "by uid, not by aid"),
    (
        "a pipeline that asks nobody",
        ("set", "--pipeline", "pip_alerts", "--uid", "a", "--mode", "none"),
        {},
        1,
        "looks nobody up",
    ),
    ("no such pipeline", ("set", "--pipeline", "pip_x", "--uid", "a", "--mode", "none"), {}, 1, "looks nobody up"),
    ("whose", ("show", "--pipeline", "pip_news"), {}, 2, "--uid or --aid"),
    (
        "Kafka without a secret",
        ("set", "--scope", "s", "--uid", "a", "--mode", "none"),
        {"PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": NOBODY},
        1,
        "PIXELCORE_CONSENT_SECRET: is not set, but with Kafka all gateways need the same secret",
    ),
    (
        "a secret that is none",
        ("set", "--scope", "s", "--uid", "a", "--mode", "none"),
        {"PIXELCORE_CONSENT_SECRET": "k1:hunter2"},
        1,
        "PIXELCORE_CONSENT_SECRET: the secret of k1 is shorter than 32 characters",
    ),
    (
        "no broker",
        ("set", "--scope", "s", "--uid", "a", "--mode", "none"),
        {"PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": NOBODY, "PIXELCORE_CONSENT_SECRET": SECRET},
        1,
        "PIXELCORE_CONSENT_TOPIC: pixelcore-consents: ",
    ),
]


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "says"), [pytest.param(*row[1:], id=row[0]) for row in WRONG]
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, keys: Path, arguments: tuple[str, ...], environment: dict[str, str], code: int, says: str
) -> None:
    ended, out, err = run(tmp_path, {"PIXELCORE_KEYS_FILE": str(keys), **environment}, *arguments)
    assert (ended, out) == (code, "")
    assert says in err
    assert "Traceback" not in err
    assert "hunter2" not in err
    assert SECRET[3:] not in err


def test_show_says_what_cannot_be_read(tmp_path: Path) -> None:
    listed(tmp_path / "data" / "consents", [record("user_1", "none", now_ms(), OTHER)])
    (tmp_path / "data" / "events").mkdir()
    where, environment = tmp_path, {"PIXELCORE_CONSENT_SECRET": SECRET}
    assert (
        "none: the scope has records under a key id without a secret in PIXELCORE_CONSENT_SECRET"
        in run(
            where,
            environment,
            *("show", "--scope", "pip_news", "--uid", "user_1"),
        )[1]
    )
    assert (
        "key id     k2: no secret in PIXELCORE_CONSENT_SECRET, so its scopes are limited to none"
        in run(where, environment, "show")[1]
    )


# name, records, how long ago the list was heard of, further settings, and what `check` says: level, then words
NOBODY_SHIPS = {"PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": NOBODY}
CHECKED: list[tuple[str, int, str, int | None, dict[str, str], str, str]] = [
    ("no list", 0, "", None, {}, "ok", "does not exist yet; the first record creates it"),
    ("a list without Kafka", 3, SECRET, None, {}, "ok", "4 records"),
    ("a whole one", 3, SECRET, 5, NOBODY_SHIPS, "ok", "4 records, 5 s old"),
    (
        "an old one",
        3,
        SECRET,
        600,
        NOBODY_SHIPS,
        "warn",
        "600 s old: it is updated only while a gateway runs here",
    ),
    ("one that is not whole", 3, SECRET, None, NOBODY_SHIPS, "warn", "not complete yet"),
    ("a key that is not here", 3, OTHER, 5, {}, "FAIL", "PIXELCORE_CONSENT_SECRET: has no secret for k2"),
]


@pytest.mark.parametrize(
    ("count", "secret", "age", "more", "level", "says"), [pytest.param(*row[1:], id=row[0]) for row in CHECKED]
)
def test_check_looks_at_the_list(
    tmp_path: Path,
    keys: Path,
    count: int,
    secret: str,
    age: int | None,
    more: dict[str, str],
    level: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load(
        {
            "PIXELCORE_DATA_DIR": str(tmp_path / "data"),
            "PIXELCORE_KEYS_FILE": str(keys),
            "PIXELCORE_CONSENT_SECRET": SECRET,
            **more,
        }
    )
    if count:
        now = now_ms()
        records = [record(f"user_{number}", "none", now, secret) for number in range(count)]
        writer = listed(tmp_path / "data" / "consents", records)
        if age is not None:
            writer.heard(now - age * 1000)
            monkeypatch.setattr(time, "time", lambda: now / 1000)
    (check,) = [each for each in checks.CHECKS if each.name == "consent list"]
    found = checks.judge(60, check, Setup(settings))
    assert found is not None
    assert (found.level, says in found.text) == (level, True), found


def test_check_says_nothing_of_consents_where_nobody_is_looked_up(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text('[[pipeline]]\nid = "pip_a"\nkey = "dk_test_a"\n')
    (check,) = [each for each in checks.CHECKS if each.name == "consent list"]
    assert checks.judge(60, check, Setup(load({"PIXELCORE_KEYS_FILE": str(keys)}))) is None


def test_many_ids_of_a_file(tmp_path: Path) -> None:
    """How long a million take, `benches/ceilings.py` measures."""
    ids = b"".join(b"user_%d\r\n" % number for number in range(100_000))
    code, _, err = run(tmp_path, {}, "set", "--scope", "s", "--kind", "uid", "--file", "-", "--mode", "none", stdin=ids)
    assert code == 0
    assert err.startswith("100,000 uids: none in scope s since ")
    assert "none since" in run(tmp_path, {}, "show", "--scope", "s", "--uid", "user_99999")[1]


def opens(server: Server, person: str, key: str = "dk_test_news") -> str:
    """Open a mail of a person; the messageId."""
    mid = f"{person}-{now_ms()}"
    assert server.get(f"/v1/pixel/track?wk={key}&e=Open&uid={person}&mid={mid}").is_pixel
    return mid


def is_kept(server: Server, person: str) -> bool:
    mid = opens(server, person)
    return any(event["messageId"] == mid for event in server.events())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_gateway_without_kafka_heeds_it(keys: Path, serve: Serve, workers: int) -> None:
    server = serve({"PIXELCORE_KEYS_FILE": str(keys)}, workers=workers)
    where, environment = server.directory, {"PIXELCORE_KEYS_FILE": str(keys)}
    assert not is_kept(server, "user_1"), "nobody consented yet"
    assert is_kept(server, "user_1") is False
    person = ("--pipeline", "pip_news", "--uid", "user_1", "--mode")
    for _ in range(2):
        assert run(where, environment, "set", *person, "individual")[0] == 0
        # The first record makes the list, which each worker looks for once a second.
        wait_for(lambda: all(is_kept(server, "user_1") for _ in range(20)), 30, "in all workers")
        assert run(where, environment, "set", *person, "none")[0] == 0
        stays(lambda: not is_kept(server, "user_1"), 1)
    assert not is_kept(server, "user_2")
    event = server.events()[-1]
    assert event["context"]["consent"] == {"mode": "individual"}


@pytest.mark.kafka
def test_with_kafka_it_goes_to_the_topic(broker: Broker | External, topic: str, keys: Path, serve: Serve) -> None:
    settings = gateway(keys, kafka_settings(broker.bootstrap, topic), topic)
    server = serve(settings, workers=2)
    environment = {name: value for name, value in settings.items() if name != "PIXELCORE_CHECKPOINT_TOPIC"}
    person = ("--pipeline", "pip_news", "--uid", "user_1", "--mode")
    for mode in ("individual", "none"):
        code, _, err = run(server.directory, environment, "set", *person, mode)
        assert code == 0, err
        assert f"to topic {topic}-consents" in err
        asked = ("show", "--pipeline", "pip_news", "--uid", "user_1")
        wait_for(lambda: f"pip_news: {mode} since" in run(server.directory, environment, *asked)[1], 60)  # noqa: B023
        wait_for(lambda: {is_kept(server, "user_1") for _ in range(10)} == {mode == "individual"}, 30)  # noqa: B023
    with Reader(broker.bootstrap, f"{topic}-consents") as reader:
        assert reader.until(lambda messages: len(messages) == 2, 60)
        assert {message.key for message in reader.messages} == {key_of("user_1")}
        value = reader.messages[-1].event
        assert (value["scope"], value["mode"], set(value)) == ("pip_news", "none", {"scope", "mode", "time"})
        assert re.fullmatch(SECONDS, value["time"])
    assert SECRET[3:] not in server.log()
    assert re.search(rf"^heard +whole as of {SECONDS}", run(server.directory, environment, "show")[1], re.MULTILINE)


@pytest.mark.kafka
def test_many_ids_to_the_topic(broker: Broker | External, topic: str, tmp_path: Path) -> None:
    ids = b"".join(b"user_%d\n" % number for number in range(100_000))
    settings = {
        "PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
        "PIXELCORE_CONSENT_TOPIC": f"{topic}-consents",
        "PIXELCORE_CONSENT_SECRET": SECRET,
    }
    asked = ("set", "--scope", "s", "--kind", "uid", "--file", "-", "--mode", "none")
    assert run(tmp_path, settings, *asked, stdin=b"user_0\n")[0] == 0  # which makes the topic
    code, _, err = run(tmp_path, settings, *asked, stdin=ids)
    assert code == 0, err
    with Reader(broker.bootstrap, f"{topic}-consents") as reader:
        while not reader.at_end():
            reader.poll()
    assert len({message.key for message in reader.messages}) == 100_000


def test_a_start_with_kafka_needs_the_secret(tmp_path: Path, keys: Path) -> None:
    settings = {"PIXELCORE_KEYS_FILE": str(keys), "PIXELCORE_KAFKA_BOOTSTRAP_SERVERS": NOBODY}
    server = Server(tmp_path / "gateway", settings)
    with pytest.raises(RuntimeError) as refused:
        server.start()
    assert "Error: PIXELCORE_CONSENT_SECRET: is not set, but with Kafka all gateways need the same secret" in str(
        refused.value
    )
    # A key file that asks nobody needs none.
    keys.write_text('[[pipeline]]\nid = "pip_a"\nkey = "dk_test_a"\n')
    other = Server(tmp_path / "other", settings)
    other.start()
    try:
        keys.write_text(KEYS)
        complaint = re.compile("PIXELCORE_CONSENT_SECRET: is not set.* the previous keys stay")
        wait_for(lambda: complaint.search(other.log()) is not None, 30)
    finally:
        other.kill()
