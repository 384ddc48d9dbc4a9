"""Makes pixel URLs and image tags: the inverse of sections 2 and 3 of the contract. In JavaScript: ``docs/pixel-url.js``.

A mail tool replaces merge tags at sending. With ``merge_tags=True`` they stay as they are, as a whole value or a part of one:
``{{x}}`` ``{{{x}}}`` ``{%x%}`` ``*|x|*`` ``%%x%%`` ``%x%`` (an ASCII name of three or more characters) ``[[x]]`` ``<%x%>``
``${x}``. The tool should percent-encode the values that it inserts: ``{{ name | url_encode }}``.
"""

from __future__ import annotations

import html
import json
import re
import secrets
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from itertools import chain, islice
from typing import Any, NoReturn
from urllib.parse import quote

from . import _core
from ._core import nest
from .paths import ROOT, TYPES, check_path

MERGE_TAGS = re.compile(
    r"(\{\{\{.+?\}\}\}|\{\{.+?\}\}|\{%.+?%\}|\*\|.+?\|\*|%%.+?%%|\[\[.+?\]\]|<%.+?%>|\$\{.+?\}"
    r"|%[A-Za-z][A-Za-z0-9_.]{2,}%)"
)
CAMPAIGN = {
    name: f"utm_{'campaign' if name == 'name' else name}"
    for name in ("source", "medium", "name", "term", "content", "id")
}
MODES = ("individual", "deliverability", "aggregate", "none")
ROOTS = {"p": "properties", "t": "traits"}
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
YEARS_2000_TO_9998 = range(946_684_800_000, 253_370_764_800_000)
LONG = 2_000  # characters; some mail clients, proxies and scanners truncate or refuse longer URLs
# A gateway's default limits (section 5).
MAX_BYTES, MAX_PARAMETERS, MAX_SEGMENTS = 8_192, 256, 32


def pixel_url(
    base: str,
    type: str,
    key: str,
    *,
    event: str | None = None,
    name: str | None = None,
    user_id: str | int | None = None,
    anonymous_id: str | int | None = None,
    group_id: str | int | None = None,
    message_id: str | int | None = None,
    timestamp: datetime | int | str | None = None,
    mode: str | None = None,
    properties: Mapping[str, object] | None = None,
    traits: Mapping[str, object] | None = None,
    campaign: Mapping[str, str] | None = None,
    cache_buster: bool | str = False,
    gif: bool = False,
    path: str | None = None,
    merge_tags: bool = False,
    secret: str | None = None,
    seal: bool = False,
) -> str:
    """The URL whose request becomes an event with these members.

    - ``base`` is the gateway's address, such as ``https://px.example.com``.
    - ``event`` is the event of a track, which needs it. ``name`` is the name of a page.
    - ``timestamp`` is an aware datetime or Unix milliseconds. Omit it for an open, because the gateway's clock is more accurate.
    - ``campaign`` has ``source``, ``medium``, ``name``, ``term``, ``content`` and ``id``.
    - ``cache_buster`` is ``True`` for a random one, or its text.
    - ``gif`` ends the path in ``.gif``, for tools that require an image path.
    - ``path`` is a path of the gateway for this type (``PIXELCORE_PATHS``), such as ``/open``.
    - ``secret`` is one of the pipeline's secrets, and signs the URL. With ``seal``, nobody on its way can read it
      (``docs/signing.md``).
    - ``mode`` is the most that may be kept of the person who loads it: ``individual``, ``deliverability``, ``aggregate`` or ``none``
      (``docs/consent.md``). A URL for ``aggregate`` is the same for all recipients of a campaign, so it has no id, no traits and no
      seal.

    An empty text counts as absent, except in properties and traits. ``properties`` and ``traits`` are read back as the same object,
    with numbers, ``True`` and ``False`` as their JSON text.

    Raises ``ValueError``, with the path, for values that would be read back differently. These are ``None``, an empty dict or list, a
    name with a dot, a dict below the top with the names of a list (``0``, ``1``, …), and a lone surrogate. Also raises it for anything
    that a gateway would reject, and for a merge tag in the signed part, because it is not filled yet. Warns (``UserWarning``) if the
    URL has more than 2,000 characters.
    """
    _check(base, type, key, event, name, merge_tags)
    m = _mode(mode, merge_tags)
    if m == "a":
        _check_shared(
            user_id=user_id,
            anonymous_id=anonymous_id,
            group_id=group_id,
            message_id=message_id,
            traits=traits,
            seal=seal,
        )
    if path:
        _check_path(path)
    if seal and secret is None:
        raise ValueError("seal: needs a secret")
    reserved = {
        "wk": key,
        "e": event or name,
        "uid": user_id,
        "aid": anonymous_id,
        "gid": group_id,
        "mid": message_id,
        "ts": _milliseconds(timestamp, merge_tags),
        "m": m,
        **_campaign(campaign or {}),
        "cb": secrets.token_hex(8) if cache_buster is True else cache_buster or None,
    }
    sent = ((parameter, value) for parameter, value in reserved.items() if value is not None and value != "")
    scalars = ((parameter, _text(parameter, value)) for parameter, value in sent)
    # An object that contains the same part many times could have endless pairs, so only one more than the limit is made.
    pairs = list(islice(chain(scalars, _root("p", properties), _root("t", traits)), MAX_PARAMETERS + 1))
    if len(pairs) + (secret is not None and not seal) > MAX_PARAMETERS:
        raise ValueError(
            f"there are more than {MAX_PARAMETERS} parameters, which a gateway rejects as too_many_parameters"
        )
    written = [f"{_percent(path)}={_around_tags(text, _percent, merge_tags)}" for path, text in pairs]
    if secret is not None:
        written = _protected(type, key, pairs, written, secret, seal, merge_tags)
    query = "&".join(written)
    by_length = sorted(written, key=len, reverse=True)[:3]
    longest = ", ".join(f"{one.partition('=')[0]} ({len(one):,})" for one in by_length)
    if (size := len(query.encode())) > MAX_BYTES:
        raise ValueError(f"the query has {size:,} bytes, which a gateway rejects as query_too_long; longest: {longest}")
    home = base.rstrip("/").removesuffix(ROOT.rstrip("/"))
    url = f"{home}{path or ROOT + type}{'.gif' if gif else ''}?{query}"
    if len(url) > LONG:
        message = (
            f"the URL has {len(url):,} characters; some mail clients and proxies take {LONG:,}; longest: {longest}"
        )
        warnings.warn(message, stacklevel=2)
    return url


def img_tag(url: str, alt: str = "", *, merge_tags: bool = False) -> str:
    """The HTML of an invisible image. With ``merge_tags``, merge tags are not escaped, like in `pixel_url`.

    The tag does not hide or defer the image. Gmail and others do not fetch images with ``display:none``, ``visibility:hidden`` or
    ``hidden``, and ``loading="lazy"`` waits for a scroll that may never happen in a mail.
    """
    src, text = (_around_tags(each, html.escape, merge_tags) for each in (url, alt))
    return f'<img src="{src}" width="1" height="1" alt="{text}" style="border:0">'


def _protected(
    type: str, key: str, pairs: list[tuple[str, str]], written: list[str], secret: str, seal: bool, merge_tags: bool
) -> list[str]:
    """The parameters, signed or sealed as in section 8. ``written`` are the ``pairs`` in query form."""
    covered: list[str] = []
    free: list[str] = []
    for (path, text), parameter in zip(pairs, written, strict=True):
        is_free = path == "cb" or path.startswith("utm_")
        if merge_tags and not is_free and MERGE_TAGS.search(text):
            _refuse(path, "a merge tag cannot be signed before it is filled")
        (free if is_free else covered).append(parameter)
    if seal:
        head, *inside = covered
        return [head, f"x={_core.seal(type, key, '&'.join(inside), secret, secrets.token_bytes(12))}", *free]
    return [*written, f"s={_core.sign(type, '&'.join(covered), secret)}"]


def _check(base: str, type: str, key: str, event: str | None, name: str | None, merge_tags: bool) -> None:
    if not re.fullmatch(r"https?://[\w.\-~:@/\[\]%!$'()*+,;=]+", base, re.ASCII):
        raise ValueError(f"base: {base!r} is not an http(s) URL of ASCII characters without query and fragment")
    if type not in TYPES:
        raise ValueError(f"type: {type!r} is not track, page, identify or group")
    if not (re.fullmatch("[A-Za-z0-9_-]{1,64}", key) or (merge_tags and MERGE_TAGS.search(key))):
        raise ValueError(f"key: {key!r} is not 1 to 64 of A-Z a-z 0-9 _ -")
    if type == "track" and not event:
        raise ValueError("event: a track needs an event")
    for what, given, owner in (("event", event, "track"), ("name", name, "page")):
        if given and type != owner:
            raise ValueError(f"{what}: only a {owner} has this member, and the type is {type}")


def _mode(mode: str | None, merge_tags: bool) -> str | None:
    """The letter of a mode, or a merge tag, which the mail tool replaces by the letter for each recipient."""
    if not mode or (merge_tags and MERGE_TAGS.fullmatch(mode)):
        return mode or None
    for word in MODES:
        if mode in (word, word[0]):
            return word[0]
    raise ValueError(f"mode: {mode!r} is not {', '.join(MODES[:-1])} or {MODES[-1]}")


def _check_shared(**personal: object) -> None:
    for name, value in personal.items():
        if value:
            raise ValueError(f"{name}: a URL for aggregate counts is the same for all recipients, and must not have it")


def _check_path(path: str) -> None:
    try:
        check_path(path)
    except ValueError as error:
        raise ValueError(f"path: {error}") from None


def _campaign(campaign: Mapping[str, str]) -> dict[str, str]:
    for name in campaign:
        if name not in CAMPAIGN:
            raise ValueError(f"campaign: {name!r} is not one of {', '.join(CAMPAIGN)}")
    return {CAMPAIGN[name]: text for name, text in campaign.items()}


def _root(root: str, value: Mapping[str, object] | None) -> Iterator[tuple[str, str]]:
    if value:
        if not isinstance(value, Mapping):
            _refuse(root, "is not a dict")
        yield from _nested(root, value)


def _nested(path: str, value: object) -> Iterator[tuple[str, str]]:
    """The parameters that section 3 reads as ``value`` at ``path``, the name of a parameter such as ``p.a.0``."""
    if path.count(".") > MAX_SEGMENTS:
        _refuse(path, f"more than {MAX_SEGMENTS} segments, which a gateway rejects as too_deep")
    if not isinstance(value, (Mapping, list, tuple)):
        yield path, _text(path, value)
    elif not value:
        _refuse(path, "an empty dict or list cannot be written as parameters")
    elif isinstance(value, Mapping):
        _check_names(path, value)
        for name, member in value.items():
            yield from _nested(f"{path}.{name}", member)
    elif len(value) > 1 and not any(isinstance(each, (Mapping, list, tuple)) for each in value):
        # Repeated names, not numbered ones: the URL is shorter, and one segment less deep.
        for each in value:
            yield path, _text(path, each)
    else:
        for index, each in enumerate(value):
            yield from _nested(f"{path}.{index}", each)


def _check_names(path: str, node: Mapping[object, object]) -> None:
    for name in node:
        if not isinstance(name, str):
            _refuse(path, f"the name {name!r} is not a string")
        if "." in name:
            _refuse(path, f"the dot in the name {name!r} would come back as two levels")
    if "." in path and set(node) == {str(index) for index in range(len(node))}:
        _refuse(path, "a dict with the names 0 to n-1 would come back as a list")


def _text(path: str, value: object) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, (int, float)):
        try:
            text = json.dumps(value, allow_nan=False)
        except ValueError:
            _refuse(path, "JSON has no such number")
    else:
        _refuse(path, f"{value!r} is neither a string nor a number, True or False")
    # quote() would refuse it too late for a merge tag, and without the path.
    for written in (path, text):
        if re.search("[\ud800-\udfff]", written):
            _refuse(path, "a lone surrogate is not a character")
    return text


def _milliseconds(timestamp: datetime | int | str | None, merge_tags: bool) -> str | None:
    if timestamp is None or (isinstance(timestamp, str) and merge_tags and MERGE_TAGS.search(timestamp)):
        return timestamp
    if isinstance(timestamp, datetime):
        if timestamp.utcoffset() is None:
            raise ValueError(f"timestamp: {timestamp} has no time zone")
        timestamp = (timestamp - EPOCH) // timedelta(milliseconds=1)
    if not re.fullmatch("[0-9]{1,15}", str(timestamp)) or int(timestamp) not in YEARS_2000_TO_9998:
        raise ValueError(f"timestamp: {timestamp!r} is not Unix milliseconds since 2000; are they seconds?")
    return str(timestamp)


def _around_tags(text: str, escape: Callable[[str], str], merge_tags: bool) -> str:
    # A split by a pattern with a group puts the tags at every other place.
    parts = MERGE_TAGS.split(text) if merge_tags else [text]
    return "".join(part if number % 2 else escape(part) for number, part in enumerate(parts))


def _percent(text: str) -> str:
    # A space becomes %20 and not +, which some mail tools escape again. A raw " < > { } | ^ ` makes HTTP servers answer 400.
    return quote(text, safe="")


def _refuse(path: str, why: str) -> NoReturn:
    root, dot, rest = path.partition(".")
    raise ValueError(f"{ROOTS.get(root, root) + dot + rest!r}: {why}")


def from_paths(assignments: Iterable[str]) -> dict[str, Any]:
    """The object of ``path=value`` texts, read like a gateway reads them. Raises ``ValueError``."""
    pairs = [assignment.partition("=") for assignment in assignments]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError("is not PATH=VALUE")
    nested: dict[str, Any] = json.loads(nest("&".join(f"p.{quote(path)}={quote(value)}" for path, _, value in pairs)))
    return nested


def from_json(text: str) -> dict[str, Any]:
    """The JSON object of a text. Raises ``ValueError``."""
    try:
        whole = json.loads(text)
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(whole, dict):
        raise ValueError("is not a JSON object")  # noqa: TRY004 it is a wrong value of a text
    return whole
