"""The same event, built from the libraries that one would choose today.

Two contenders differ in their parser and their serialiser only: `urllib_json` is the standard library, `fqp_orjson` the
fastest extensions on PyPI. Both do pixelcore's whole job for an ordinary request (contract, sections 2 to 4) and share
the Python between the two ends, written with as much care for speed as for reading: one pass over the pairs, ASCII
decided before Unicode, arrays looked for only where something nested.

Left out are typed values, which are off by default, and the order in which reasons of rejection are tried, which valid
requests never see. The mistakes of a rival's parser stay.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

import orjson
import pixelcore
from fast_query_parsers import parse_query_string

Pairs: TypeAlias = list[tuple[str, str]]
Node: TypeAlias = "str | list[str] | list[Node] | Members"
Members: TypeAlias = "dict[str, Node]"
Texts: TypeAlias = dict[str, str]
Request: TypeAlias = Mapping[str, str | None]
Event: TypeAlias = dict[str, object]

MAX_QUERY_BYTES: Final = 8192
MAX_PARAMETERS: Final = 256
MAX_DEPTH: Final = 32

YEAR_2000: Final = 946_684_800_000
MAX_AHEAD: Final = 23 * 3_600_000

RESERVED: Final = frozenset({"wk", "e", "uid", "aid", "gid", "mid", "ts"})
UNTRIMMED: Final = frozenset({"e", "ts"})
CAMPAIGN: Final = {
    "utm_source": "source",
    "utm_medium": "medium",
    "utm_campaign": "name",
    "utm_term": "term",
    "utm_content": "content",
}
NAMED: Final = {"track": "event", "page": "name"}
LIBRARY: Final = {"name": "pixelcore", "version": pixelcore.__version__}

KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

ASCII_BLANK: Final = "".join(map(chr, range(0x21))) + "\x7f"
BLANK_ENDS: Final = re.compile(
    # White space, control and default-ignorable characters.
    r"^[{0}]+|[{0}]+$".format(
        "\\s\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
        "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
        "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    )
)


class RefusedError(Exception):
    """The request becomes no event; the argument is the contract's reason."""


def trim(text: str) -> str:
    """Take invisible characters from both ends."""
    return text.strip(ASCII_BLANK) if text.isascii() else BLANK_ENDS.sub("", text)


def insert(members: Members, path: str, value: str) -> bool:
    """Put a value where its dotted path says; whether that is below the top."""
    *parents, last = path.split(".")
    node = members
    for segment in parents:
        child = node.get(segment)
        if not isinstance(child, dict):
            # Rule 2: values that turn out to have members beside them move to the member "".
            child = {} if child is None else {"": child}
            node[segment] = child
        node = child
    present = node.get(last)
    while isinstance(present, dict):
        # Rule 2 from the other side: the value goes to the member "", which is then the first (rule 3).
        node, last = present, ""
        others = dict(node)
        present = others.pop("", None)
        node.clear()
        node[""] = value if present is None else present
        node.update(others)
        if present is None:
            return True
    if present is None:
        node[last] = value
    elif isinstance(present, list):
        present.append(value)  # Only repeated values are lists before `settle`.
    else:
        node[last] = [present, value]
    return bool(parents)


def settle(node: Members) -> Node:
    """Turn an object whose names are exactly 0 to n-1 into an array, and so everywhere below it."""
    for name, child in node.items():
        if isinstance(child, dict):
            node[name] = settle(child)
    if "0" in node:
        indices = [str(index) for index in range(len(node))]
        if all(index in node for index in indices):
            return [node[index] for index in indices]
    return node


def settle_below(members: Members) -> None:
    """`settle` everything but the top, which always stays an object (rule 4)."""
    for name, child in members.items():
        if isinstance(child, dict):
            members[name] = settle(child)


def nested(pairs: Iterable[tuple[str, str]], prefix: str) -> Members:
    """The object that the names beginning with ``prefix`` become (contract, section 3)."""
    members: Members = {}
    deep = False
    start = len(prefix)
    for name, value in pairs:
        name = name.removeprefix("amp;")
        if name.startswith(prefix):
            deep |= insert(members, name[start:], value)
    if deep:
        settle_below(members)
    return members


def iso(milliseconds: int) -> str:
    """ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).isoformat(timespec="milliseconds")[:-6] + "Z"


def uuid7(milliseconds: int) -> str:
    """A UUIDv7, which the standard library has from Python 3.14 on."""
    bits = milliseconds << 80 | uuid.uuid4().int & ((1 << 76) - 1) | 7 << 76
    return str(uuid.UUID(int=bits & ~(0b11 << 62) | 0b10 << 62))


def read(name: str, value: str) -> str:
    """A reserved name's value as the event has it; an empty one counts as absent."""
    if name in UNTRIMMED:
        return value
    value = trim(value)
    # AMP quotes the CLIENT_ID that it substitutes.
    if name == "aid" and len(value) > 1 and value[0] == value[-1] == '"':
        return trim(value[1:-1])
    return value


def sorted_out(pairs: Pairs) -> tuple[Texts, Texts, Members, Members]:
    """One pass over the pairs: reserved values, campaign, properties, traits."""
    reserved: Texts = {}
    campaign: Texts = {}
    properties: Members = {}
    traits: Members = {}
    deep_properties = deep_traits = False
    for name, value in pairs:
        name = name.removeprefix("amp;")
        if name.startswith(("p.", "t.")):
            if name.count(".") > MAX_DEPTH:
                raise RefusedError("too_deep")
            if name[0] == "p":
                deep_properties |= insert(properties, name[2:], value)
            else:
                deep_traits |= insert(traits, name[2:], value)
        elif name in RESERVED:
            if name not in reserved and (text := read(name, value)):
                reserved[name] = text
        elif name in CAMPAIGN and value:
            campaign.setdefault(name, value)
    if deep_properties:
        settle_below(properties)
    if deep_traits:
        settle_below(traits)
    return reserved, campaign, properties, traits


def plausible(ts: str, now: int) -> str | None:
    """The time that ``ts`` names, unless it lies before 2000 or 23 hours ahead."""
    # isdecimal alone would let other scripts' digits through.
    if ts.isascii() and ts.isdecimal() and YEAR_2000 <= (milliseconds := int(ts)) <= now + MAX_AHEAD:
        return iso(milliseconds)
    return None


def context(request: Request, campaign: Texts, repaired_ts: str) -> Event:
    """The event's ``context``."""
    found: Event = {}
    if ip := request.get("ip"):
        found["ip"] = ip
    if user_agent := request.get("user_agent"):
        found["userAgent"] = user_agent
    if locale := request.get("locale"):
        language = locale.partition(",")[0].partition(";")[0].strip()
        if language and language != "*":
            found["locale"] = language
    if referer := request.get("referer"):
        found["page"] = {"url": referer}
    if campaign:
        found["campaign"] = {member: campaign[name] for name, member in CAMPAIGN.items() if name in campaign}
    if consent := {name: True for name in ("gpc", "dnt") if request.get(name) == "1"}:
        found["consent"] = consent
    if repaired_ts:
        found["repaired"] = {"ts": repaired_ts}
    found["library"] = LIBRARY
    return found


def identity(reserved: Texts) -> Event:
    """Who it was."""
    found: Event = {"pipelineKey": reserved["wk"]}
    if uid := reserved.get("uid"):
        found["userId"] = uid
    if aid := reserved.get("aid"):
        found["anonymousId"] = aid
    if gid := reserved.get("gid"):
        found["groupId"] = gid
    return found


def built(type: str, pairs: Pairs, received_at: int | None, request: Request) -> Event:
    """The event of a request whose query is parsed."""
    if len(pairs) > MAX_PARAMETERS:
        raise RefusedError("too_many_parameters")
    now = time.time_ns() // 1_000_000 if received_at is None else received_at
    reserved, campaign, properties, traits = sorted_out(pairs)
    if "wk" not in reserved:
        raise RefusedError("missing_key")
    if not KEY.fullmatch(reserved["wk"]):
        raise RefusedError("malformed_key")
    event: Event = {"type": type}
    name = reserved.get("e")
    if type == "track" and not name:
        raise RefusedError("missing_event")
    if name and type in NAMED:
        event[NAMED[type]] = name
    event["messageId"] = reserved.get("mid") or uuid7(now)
    ts = reserved.get("ts", "")
    timestamp = plausible(ts, now)
    received = iso(now)
    event["timestamp"] = timestamp or received
    event["receivedAt"] = received
    event |= identity(reserved)
    if properties:
        event["properties"] = properties
    if traits:
        event["traits"] = traits
    event["context"] = context(request, campaign, "" if timestamp else ts)
    return event


def standard_pairs(query: str) -> Pairs:
    """The standard library's parser."""
    return parse_qsl(query, keep_blank_values=True)


def fast_pairs(query: str) -> Pairs:
    """fast-query-parsers' parser, which takes bytes only, while an RSGI scope holds text."""
    return parse_query_string(query.encode(), "&")


def standard_json(value: object) -> bytes:
    """Compact UTF-8, as the other two write it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def rival(
    parse: Callable[[str], Pairs], dump: Callable[[object], bytes]
) -> tuple[Callable[..., bytes], Callable[..., bytes]]:
    """A contender's ``event`` and ``nest``, with pixelcore's signatures."""

    def event(type: str, query: str, *, received_at: int | None = None, **request: str | None) -> bytes:
        if len(query) > MAX_QUERY_BYTES:
            raise RefusedError("query_too_long")
        return dump(built(type, parse(query), received_at, request))

    def nest(query: str, prefix: str = "p.") -> bytes:
        return dump(nested(parse(query), prefix))

    return event, nest


urllib_json, urllib_json_nest = rival(standard_pairs, standard_json)
fqp_orjson, fqp_orjson_nest = rival(fast_pairs, orjson.dumps)
