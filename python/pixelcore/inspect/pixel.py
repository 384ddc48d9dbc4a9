"""Builds a pixel URL from the texts in the page's form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from .._core import ignored_names
from ..url import LONG, MERGE_TAGS, from_json, from_paths, img_tag, pixel_url

Compat = Sequence[Literal["segment", "rudderstack"]]

SHOWN_NAMES = 10
TEXTS = (
    *("base", "type", "key", "event", "name", "user_id", "anonymous_id", "group_id", "message_id", "timestamp"),
    *("source", "medium", "campaign", "term", "content", "properties", "traits", "mode", "alt", "path", "url"),
)
CAMPAIGN = {"source": "source", "medium": "medium", "campaign": "name", "term": "term", "content": "content"}


def build(form: dict[str, Any], compat: Compat = ()) -> dict[str, Any]:
    """The ``url`` and ``img`` tag of a form, whether the URL is ``long``, and its unknown names in ``ignored``; or an ``error``.

    The form has the texts of `TEXTS`, and the booleans ``gif`` and ``cache_buster``. Properties and traits are a JSON object, or lines
    of ``path=value``. Merge tags stay as they are. A handwritten ``url`` is used unchanged. Raises ``AttributeError`` or
    ``TypeError`` for a malformed form.
    """
    text = {name: str(form.get(name, "")).strip() for name in TEXTS}
    try:
        if text["url"]:
            return _made(text["url"], text, compat)
        url = pixel_url(
            text["base"],
            text["type"],
            text["key"],
            event=text["event"] if text["type"] == "track" else None,
            name=text["name"] if text["type"] == "page" else None,
            user_id=text["user_id"],
            anonymous_id=text["anonymous_id"],
            group_id=text["group_id"],
            message_id=text["message_id"],
            timestamp=text["timestamp"] or None,
            mode=text["mode"] or None,
            properties=_tree("properties", text["properties"]),
            traits=_tree("traits", text["traits"]),
            campaign={member: text[name] for name, member in CAMPAIGN.items()},
            cache_buster=form.get("cache_buster") is True,
            gif=form.get("gif") is True,
            path=text["path"],
            merge_tags=True,
        )
    except ValueError as error:
        return {"error": str(error)}
    return _made(url, text, compat)


def _made(url: str, text: dict[str, str], compat: Compat) -> dict[str, Any]:
    query = MERGE_TAGS.sub("", url).partition("#")[0].partition("?")[2]
    ignored = ignored_names(text["type"], query, compat)
    img = img_tag(url, text["alt"], merge_tags=True)
    return {"url": url, "img": img, "long": len(url) > LONG, "ignored": ignored[:SHOWN_NAMES]}


def _tree(name: str, text: str) -> dict[str, Any]:
    try:
        if text.startswith("{"):
            return from_json(text)
        return from_paths(line.strip() for line in text.splitlines() if line.strip())
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
