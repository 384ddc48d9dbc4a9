"""Makes the AsyncAPI document of the topics from the schemas of `pixelcore.model` and the settings."""

from __future__ import annotations

from typing import Any

from . import __version__
from .model import Counts, Event, LastOpen, Rejection, schema
from .settings import Settings

VERSION = "3.0.0"


def document(settings: Settings) -> dict[str, Any]:
    """The document for the topics of these settings. The rejected topic is included if it has a name."""
    topics: list[tuple[str, str, type[Any], str]] = [
        ("events", settings.topic, Event, "userId, else anonymousId, else none")
    ]
    if settings.rejected_topic:
        topics.append(("rejections", settings.rejected_topic, Rejection, "none"))
    topics += [
        ("lastOpens", settings.last_open_topic, LastOpen, "pipeline, kind of id, and id: pip_news/uid/u1"),
        ("counts", settings.aggregate_topic, Counts, "none"),
    ]
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "pixelcore",
            "version": __version__,
            "description": "The records that a gateway writes to Kafka. Consumers set isolation.level=read_committed.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(name, topic) for name, topic, _, _ in topics},
        "operations": {
            f"send{name[0].upper()}{name[1:]}": {"action": "send", "channel": {"$ref": f"#/channels/{name}"}}
            for name, _, _, _ in topics
        },
        "components": {"messages": {name: _message(model, key) for name, _, model, key in topics}},
    }


def _channel(name: str, topic: str) -> dict[str, Any]:
    return {
        "address": topic,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "bindings": {"kafka": {"topic": topic, "bindingVersion": "0.5.0"}},
    }


def _message(model: type[Any], key: str) -> dict[str, Any]:
    return {
        "name": model.__name__,
        "summary": str(model.__doc__),
        "contentType": "application/json",
        "bindings": {"kafka": {"key": {"type": "string", "description": key}, "bindingVersion": "0.5.0"}},
        # A schema with its own dialect, whose references are within itself.
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$id": f"urn:pixelcore:{model.__name__.lower()}", **schema(model)},
        },
    }
