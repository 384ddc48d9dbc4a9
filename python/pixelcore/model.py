"""The types of the records in the topics (contract, sections 4, 5 and 9), for consumers, type checkers and the JSON Schema.

``msgspec.json.decode(message.value(), type=pixelcore.Event)`` decodes an event and checks it. Later versions may add members, so
readers should ignore unknown ones. The types describe events of native pixel URLs. URLs of ``PIXELCORE_COMPAT`` have their sender's
context, whose members may be any JSON.
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
    "bad_signature",
    "unsigned",
    "rate_limited",
    "address_in_url",
    "missing_event",
    "too_deep",
    "automated",
]
Json = dict[str, Any]
"""The value of dotted names: strings, arrays and objects; with `PIXELCORE_TYPED_VALUES` also booleans and numbers."""


class Page(TypedDict, total=False):
    """The page that loaded the image."""

    url: Annotated[Text, _says("The Referer.")]


class Campaign(TypedDict, total=False):
    """The campaign that led the reader here, from Google Analytics' parameters."""

    source: Annotated[Text, _says("`utm_source`")]
    medium: Annotated[Text, _says("`utm_medium`")]
    name: Annotated[Text, _says("`utm_campaign`")]
    term: Annotated[Text, _says("`utm_term`")]
    content: Annotated[Text, _says("`utm_content`")]
    id: Annotated[Text, _says("`utm_id`")]


class Consent(TypedDict, total=False):
    """The browser's privacy signals, and the mode of this person."""

    gpc: Annotated[Literal[True], _says("`Sec-GPC: 1`, Global Privacy Control.")]
    dnt: Annotated[Literal[True], _says("`DNT: 1`, Do Not Track.")]
    mode: Annotated[
        Literal["individual"],
        _says("The mode of the request, if its pipeline looks persons up. Other modes leave no event."),
    ]


class Client(TypedDict):
    """The client that fetched the image, if it identifies itself as something other than an ordinary reader."""

    name: Annotated[Text, _says("Such as `gmail`, `prefetch` or a crawler's name.")]
    automated: Annotated[bool, _says("True if a program fetched the image without a person.")]


class Repaired(TypedDict, total=False):
    """The original values of repaired members, as they were sent."""

    ts: Annotated[Text, _says("An implausible `ts`.")]
    userId: Annotated[Text, _says("`uid` with bytes that are not UTF-8, percent-encoded.")]
    anonymousId: Annotated[Text, _says("`aid`, likewise.")]
    groupId: Annotated[Text, _says("`gid`, likewise.")]
    messageId: Annotated[Text, _says("`mid`, likewise.")]


class Library(TypedDict):
    """The software that wrote the event."""

    name: Text
    version: Text


class Context(TypedDict, total=False):
    """The facts of the request besides its query."""

    ip: Annotated[Text, _says("The client's address, as `PIXELCORE_IP` keeps it.")]
    userAgent: Annotated[Text, _says("User-Agent.")]
    locale: Annotated[Text, _says("The first of Accept-Language.")]
    page: Page
    campaign: Campaign
    consent: Consent
    client: Client
    signed: Annotated[Literal[True], _says("The URL is signed with a secret of the pipeline.")]
    sealed: Annotated[
        Literal[True],
        _says("The URL is sealed with a secret of the pipeline, so that nobody on its way could read it."),
    ]
    repaired: Repaired
    unreadable: Annotated[
        list[Text],
        Meta(min_length=1),
        _says("Names, in lower case, of sent headers that the server did not hand over, because of their bytes."),
    ]
    library: Required[Library]


class Event(TypedDict, total=False):
    """One event: the value of a message on `raw-events`, a line of a journal, and the result of `pixelcore.event`."""

    type: Required[Type]
    event: Annotated[Text, _says("The event of a `track`, which always has it.")]
    name: Annotated[Text, _says("The name of a `page`.")]
    messageId: Required[Annotated[Text, _says("`mid`, else a UUIDv7. Unique unless a sender gives one twice.")]]
    timestamp: Required[Annotated[Time, _says("The time of the event: a plausible `ts`, else `receivedAt`.")]]
    receivedAt: Required[Annotated[Time, _says("When the gateway received the request.")]]
    pipelineKey: Required[Key]
    pipelineId: Annotated[Text, _says("The id of the key's pipeline, if there is a key file.")]
    userId: Annotated[Text, _says("`uid`")]
    anonymousId: Annotated[Text, _says("`aid`")]
    groupId: Annotated[Text, _says("`gid`")]
    properties: Annotated[Json, _says("`p.…`, nested at the dots.")]
    traits: Annotated[Json, _says("`t.…`, nested at the dots.")]
    context: Required[Context]


class Rejection(TypedDict):
    """One rejected request: a message on the rejected topic, a line of the rejections' journals."""

    reason: Annotated[Reason, _says("The first reason that applies.")]
    type: Annotated[str, _says("The last part of the path, also if it is not a type.")]
    query: Annotated[str, _says("The query as it was sent, so that it can be replayed.")]
    receivedAt: Annotated[Time, _says("When the gateway received the request.")]
    context: Context


Pipeline = Annotated[Text, _says("The pipeline's id, if there is a key file.")]


class LastOpen(TypedDict, total=False):
    """The day of a person's last opening: a message on the compacted topic of last openings. Nothing else is kept of the person."""

    pipelineId: Pipeline
    pipelineKey: Annotated[Key, _says("The write key instead of an id, if there is no key file.")]
    userId: Annotated[Text, _says("`uid`")]
    anonymousId: Annotated[Text, _says("`aid`")]
    day: Required[
        Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d$", description="The day in UTC. A newer record replaces it.")]
    ]


class Counts(TypedDict, total=False):
    """The number of loads in a window: a message on the topic of counts, which identifies nobody."""

    type: Annotated[Literal["track", "page"], _says("Absent in the rest.")]
    event: Annotated[Text, _says("The event of a track.")]
    name: Annotated[Text, _says("The name of a page.")]
    pipelineId: Pipeline
    pipelineKey: Annotated[Key, _says("The write key instead of an id, if there is no key file.")]
    window: Required[Annotated[Time, _says("The beginning of the window, which is an hour long unless set otherwise.")]]
    properties: Annotated[dict[str, str], _says("The properties in `aggregate_properties`, by their paths.")]
    rest: Annotated[Literal[True], _says("This is the sum of all counts below the pipeline's minimum.")]
    count: Required[Annotated[int, Meta(ge=1, description="Loads, not persons. Records of one window add up.")]]


def schema(model: type[Any]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `Event`, `Rejection`, `LastOpen` or `Counts`."""
    import msgspec

    (root,), components = msgspec.json.schema_components([model], ref_template="#/$defs/{name}")
    name = str(root["$ref"]).rpartition("/")[2]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **components.pop(name),
        "$defs": components,
    }
