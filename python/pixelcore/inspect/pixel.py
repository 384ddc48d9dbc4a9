"""A pixel URL from the page's form: texts, as somebody typed them."""

from __future__ import annotations

from typing import Any

from ..url import LONG, from_json, from_paths, img_tag, pixel_url

TEXTS = (
    *("base", "type", "key", "event", "name", "user_id", "anonymous_id", "group_id", "message_id", "timestamp"),
    *("source", "medium", "campaign", "term", "content", "properties", "traits", "alt"),
)
CAMPAIGN = {"source": "source", "medium": "medium", "campaign": "name", "term": "term", "content": "content"}


def build(form: dict[str, Any]) -> dict[str, Any]:
    """The ``url`` and the ``img`` tag of a form, and where it is so, that it is ``long``; or the ``error``.

    The form has the texts of `TEXTS`, and ``gif`` and ``cache_buster``, which are true or false. Properties and traits are a JSON
    object, or lines of ``path=value``. Merge tags stay as they are. Raises ``AttributeError`` or ``TypeError`` for a form that
    is none.
    """
    text = {name: str(form.get(name, "")).strip() for name in TEXTS}
    try:
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
            properties=_tree("properties", text["properties"]),
            traits=_tree("traits", text["traits"]),
            campaign={member: text[name] for name, member in CAMPAIGN.items()},
            cache_buster=form.get("cache_buster") is True,
            gif=form.get("gif") is True,
            merge_tags=True,
        )
    except ValueError as error:
        return {"error": str(error)}
    return {"url": url, "img": img_tag(url, text["alt"], merge_tags=True), "long": len(url) > LONG}


def _tree(name: str, text: str) -> dict[str, Any]:
    try:
        if text.startswith("{"):
            return from_json(text)
        return from_paths(line.strip() for line in text.splitlines() if line.strip())
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
