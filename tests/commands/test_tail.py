"""``pixelcore tail``: the records that it selects, and that their texts cannot control a terminal."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pixelcore
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pixelcore.commands.main import main
from pixelcore.commands.records import Record
from pixelcore.printable import escape

from tests.support.commands import command
from tests.support.servers import clean_environment
from tests.support.terminal import COLOURS, on_a_terminal

EVENTS = {
    "open": ("track", "wk=dk_1&e=Opened&uid=anna&aid=a1&mid=m1&p.campaign.id=c&p.tag=a&p.tag=b", ""),
    "click": ("track", "wk=dk_2&e=Clicked&uid=anna&mid=m2&p.items.0.sku=A&p.items.1.sku=B", "pip_shop"),
    "view": ("page", "wk=dk_1&e=Pricing&aid=a2&mid=m3", ""),
    "person": ("identify", "wk=dk_1&uid=bert&mid=m4&t.plan=pro", ""),
    "company": ("group", "wk=dk_2&uid=bert&gid=acme&mid=m5", "pip_shop"),
}
REJECTED = {
    "no event": ("missing_event", "track", "wk=dk_1&uid=anna&mid=r1"),
    "another's key": ("unknown_key", "track", "wk=dk_9&e=Opened&mid=r2"),
    "twice escaped": ("missing_key", "page", "amp;amp;wk=%20dk_1%20&amp;e=Pricing&amp;uid=&amp;uid=bert&mid=r3"),
    "no type": ("unknown_type", "screen", "mid=r4"),
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tail")
    with pixelcore.Journal(root / "events") as journal:
        for number, (kind, query, pipeline) in enumerate(EVENTS.values()):
            event = json.loads(pixelcore.event(kind, query, received_at=1_740_493_800_000 + number))
            journal.append(json.dumps(event | ({"pipelineId": pipeline} if pipeline else {})).encode())
        journal.append(b'{"is":"no record"}')
        journal.append(b'{"reason":1}')
    with pixelcore.Journal(root / "rejections") as journal:
        for number, (reason, kind, query) in enumerate(REJECTED.values()):
            record = {"reason": reason, "type": kind, "query": query, "receivedAt": f"2025-02-25T14:30:0{number}.000Z"}
            journal.append(json.dumps(record | {"context": {}}).encode())
    return root


def shown(data_dir: Path, *arguments: str) -> list[str]:
    """The messageIds of what is shown."""
    ended = CliRunner().invoke(main, ["tail", "--data-dir", str(data_dir), *arguments], catch_exceptions=False)
    assert ended.exit_code == (0 if ended.stdout else 3), ended.stderr
    assert ended.stdout or ended.stderr.startswith("no such ")
    records = [json.loads(line) for line in ended.stdout.splitlines()]
    return [record.get("messageId") or record["query"].rpartition("mid=")[2] for record in records]


CHOICES: list[tuple[str, tuple[str, ...], list[str]]] = [
    ("all", (), ["m1", "m2", "m3", "m4", "m5"]),
    ("a key", ("--key", "dk_1"), ["m1", "m3", "m4"]),
    ("a pipeline's id", ("--key", "pip_shop"), ["m2", "m5"]),
    ("a type", ("--type", "track"), ["m1", "m2"]),
    ("two types", ("--type", "identify", "--type", "group"), ["m4", "m5"]),
    ("an event", ("--event", "Opened"), ["m1"]),
    ("a page's name", ("--event", "Pricing"), ["m3"]),
    ("a user", ("--id", "anna"), ["m1", "m2"]),
    ("an anonymous id", ("--id", "a2"), ["m3"]),
    ("a group", ("--id", "acme"), ["m5"]),
    ("a message", ("--id", "m4"), ["m4"]),
    ("several at once all fit", ("--key", "dk_2", "--id", "anna"), ["m2"]),
    ("the last of the chosen", ("-n", "1", "--key", "dk_1"), ["m4"]),
    ("none fits", ("--key", "dk_1", "--type", "group"), []),
    ("a part is not the whole", ("--event", "Open"), []),
    ("rejections", ("--rejected",), ["r1", "r2", "r3", "r4"]),
    ("rejections of a key", ("--rejected", "--key", "dk_1"), ["r1", "r3"]),
    ("rejections of an event", ("--rejected", "--event", "Opened"), ["r2"]),
    ("rejections of a user", ("--rejected", "--id", "bert"), ["r3"]),
    ("rejections of a type that is none", ("--rejected", "--type", "screen"), ["r4"]),
]


@pytest.mark.parametrize(("arguments", "expected"), [pytest.param(*row[1:], id=row[0]) for row in CHOICES])
def test_choices(data_dir: Path, arguments: tuple[str, ...], expected: list[str]) -> None:
    assert shown(data_dir, *arguments) == expected


ROWS: list[tuple[str, str]] = [
    # which record, its row behind the time
    ("open", "track     Opened  anna  campaign.id=c  tag=a,b"),
    ("click", "track     Clicked  anna  items.0.sku=A  items.1.sku=B"),
    ("view", "page      Pricing  a2"),
    ("person", "identify  bert  plan=pro"),
    ("company", "group     bert"),
]


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_rows_of_events(name: str, row: str) -> None:
    kind, query, _ = EVENTS[name]
    record = Record.read(pixelcore.event(kind, query, received_at=1_740_493_801_250))
    assert record is not None
    assert record.row().plain == f"02-25 14:30:01.250  {row}"


def test_the_row_of_a_rejection() -> None:
    line = b'{"reason":"missing_key","type":"track","query":"e=E&p.a=1","receivedAt":"2025-02-25T14:30:00.000Z","context":{}}'
    record = Record.read(line)
    assert record is not None
    assert record.row().plain == "02-25 14:30:00.000  track     missing_key  e=E&p.a=1"


def test_a_row_is_never_longer_than_the_terminal(data_dir: Path) -> None:
    printed = on_a_terminal("tail", "--data-dir", str(data_dir), cwd=data_dir, columns=40)
    assert COLOURS.search(printed), "a terminal has colours"
    rows = COLOURS.sub("", printed).splitlines()
    assert len(rows) == len(EVENTS)
    assert max(map(len, rows)) == 40
    assert rows[0].endswith("…")


HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\r\n\u202eevil\x00\x7f\u2028\U000e0041"


def test_a_text_of_a_stranger_does_nothing_to_a_terminal(tmp_path: Path) -> None:
    event = json.loads(pixelcore.event("track", "wk=dk_1&e=E&mid=m1"))
    event |= {"event": HOSTILE, "userId": HOSTILE, "properties": {HOSTILE: HOSTILE}}
    with pixelcore.Journal(tmp_path / "pixelcore-data" / "events") as journal:
        journal.append(json.dumps(event).encode())
    row = COLOURS.sub("", on_a_terminal("tail", cwd=tmp_path, columns=1000))
    assert row.count("\n") == 1
    assert row.removesuffix("\r\n").isprintable()
    pretty = COLOURS.sub("", on_a_terminal("tail", "--pretty", cwd=tmp_path, columns=1000))
    assert all(line.isprintable() for line in pretty.split("\r\n"))
    assert json.loads(pretty) == event, "what is escaped is still the same JSON"


@given(st.text())
def test_escapes(text: str) -> None:
    assert escape(text).replace("\n", "").isprintable()
    shown = escape(json.dumps(text, ensure_ascii=False))
    assert shown.isprintable()
    assert json.loads(shown) == text


def test_pretty_in_a_pipe(data_dir: Path) -> None:
    ended = CliRunner().invoke(main, ["tail", "--data-dir", str(data_dir), "--pretty", "--id", "m1"])
    assert ended.stdout.startswith('{\n  "type": "track",\n')
    assert json.loads(ended.stdout)["messageId"] == "m1"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda children: (
            st.lists(children)
            | st.dictionaries(
                st.sampled_from(
                    ["reason", "receivedAt", "type", "query", "properties", "pipelineKey", "userId", "event"]
                ),
                children,
            )
        ),
    )
)
def test_any_json_is_a_record_or_none(value: object) -> None:
    """Lines that are not pixelcore's records are skipped."""
    record = Record.read(json.dumps(value).encode())
    if record is not None:
        assert record.row().plain.isprintable()
        record.pretty()


def test_who_follows_what_is_not_there_yet_is_told(tmp_path: Path) -> None:
    with subprocess.Popen(
        command("tail", "--follow", "--data-dir", str(tmp_path)), env=clean_environment({}), stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        said = process.stderr.readline().decode()
        process.kill()
    assert said == f"no gateway has written to {tmp_path} yet: waiting for one\n"
