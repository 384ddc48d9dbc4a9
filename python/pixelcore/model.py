"""What is in the topics, as types (contract, sections 4 and 5): for consumers, type checkers and the JSON Schema.

``msgspec.json.decode(message.value(), type=pixelcore.Event)`` decodes an event and checks it. Members may be added in
later versions, so readers should pass over those that they do not know. What is below is written of native pixel URLs; those of
``PIXELCORE_COMPAT`` bring a context of their sender's, whose members may be any JSON.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta
from typing_extensions import Required, TypedDict

TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"


def _says(description: str) -> Meta:
    return Meta(description=description)


Time = Annotated[
    str, Meta(pattern=TIME, description="ISO 8601, UTC, with milliseconds.", extra_json_schema={"format": "date-time"})
]
Text = Annotated[str, Meta(min_length=1)]
Key = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="The key of the pipeline, `wk`.")]
Type = Literal["track", "page", "identify", "group"]
Reason = Literal[
    "unknown_type",
    "query_too_long",
    "too_many_parameters",
    "malformed_data",
    "missing_key",
    "malformed_key",
    "unknown_key",
    "disabled_key",
    "domain_not_allowed",
    "rate_limited",
    "missing_event",
    "too_deep",
    "automated",
]
Json = dict[str, Any]
"""What dotted names nest to: strings, arrays and objects; with `PIXELCORE_TYPED_VALUES` booleans and numbers, too."""


class Page(TypedDict, total=False):
    """The page that loaded the image."""

    url: Annotated[Text, _says("The Referer.")]


class Campaign(TypedDict, total=False):
    """Where the reader came from, in Google Analytics' five parameters."""

    source: Annotated[Text, _says("`utm_source`")]
    medium: Annotated[Text, _says("`utm_medium`")]
    name: Annotated[Text, _says("`utm_campaign`")]
    term: Annotated[Text, _says("`utm_term`")]
    content: Annotated[Text, _says("`utm_content`")]


class Consent(TypedDict, total=False):
    """What the browser asked for."""

    gpc: Annotated[Literal[True], _says("`Sec-GPC: 1`, Global Privacy Control.")]
    dnt: Annotated[Literal[True], _says("`DNT: 1`, Do Not Track.")]


class Client(TypedDict):
    """Who fetched the image, where it says that it was no ordinary reader."""

    name: Annotated[Text, _says("Such as `gmail`, `prefetch` or a crawler's name.")]
    automated: Annotated[bool, _says("Whether no person looked.")]


class Repaired(TypedDict, total=False):
    """What was mended rather than believed, as it was sent."""

    ts: Annotated[Text, _says("An implausible `ts`.")]


class Library(TypedDict):
    """What wrote the event."""

    name: Text
    version: Text


class Context(TypedDict, total=False):
    """What the request said beside its query."""

    ip: Annotated[Text, _says("The client's address, as `PIXELCORE_IP` keeps it.")]
    userAgent: Annotated[Text, _says("User-Agent.")]
    locale: Annotated[Text, _says("The first of Accept-Language.")]
    page: Page
    campaign: Campaign
    consent: Consent
    client: Client
    repaired: Repaired
    library: Required[Library]


class Event(TypedDict, total=False):
    """One event: the value of a message on `raw-events`, a line of a journal, what `pixelcore.event` returns."""

    type: Required[Type]
    event: Annotated[Text, _says("What happened; of `track`, which always has it.")]
    name: Annotated[Text, _says("The page's name; of `page`.")]
    messageId: Required[Annotated[Text, _says("`mid`, else a UUIDv7. Unique unless a sender gives one twice.")]]
    timestamp: Required[Annotated[Time, _says("When it happened: a plausible `ts`, else `receivedAt`.")]]
    receivedAt: Required[Annotated[Time, _says("When the gateway was asked.")]]
    pipelineKey: Required[Key]
    pipelineId: Annotated[Text, _says("Of the key, where there is a key file.")]
    userId: Annotated[Text, _says("`uid`")]
    anonymousId: Annotated[Text, _says("`aid`")]
    groupId: Annotated[Text, _says("`gid`")]
    properties: Annotated[Json, _says("`p.…`, nested at the dots.")]
    traits: Annotated[Json, _says("`t.…`, nested at the dots.")]
    context: Required[Context]


class Rejection(TypedDict):
    """One rejected request: a message on the rejected topic, a line of the rejections' journals."""

    reason: Annotated[Reason, _says("The first that applies.")]
    type: Annotated[str, _says("The last part of the path, whatever it was.")]
    query: Annotated[str, _says("As it was sent, so that it can be judged again.")]
    receivedAt: Annotated[Time, _says("When the gateway was asked.")]
    context: Context


def schema(model: type[Any]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `Event` or `Rejection`."""
    import msgspec

    (root,), components = msgspec.json.schema_components([model], ref_template="#/$defs/{name}")
    name = str(root["$ref"]).rpartition("/")[2]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **components.pop(name),
        "$defs": components,
    }
