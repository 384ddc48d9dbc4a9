"""The AsyncAPI document: it is made of the schemas, and valid by the specification's own schema."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pixelcore
import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from pixelcore import asyncapi, model, settings

from tests.kafka.broker import unavailable
from tests.support.paths import ROOT, TESTS
from tests.support.servers import clean_environment

PUBLISHED = ROOT / "docs" / "asyncapi.json"
SPECIFICATION = TESTS / "npm" / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"
BOTH = {"PIXELCORE_KAFKA_REJECTED_TOPIC": "rejected-requests"}


def made(**chosen: str) -> dict[str, Any]:
    return asyncapi.document(settings.load(chosen))


def test_the_published_one_is_that_of_the_schemas() -> None:
    text = json.dumps(made(**BOTH), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        PUBLISHED.write_text(text)
    assert PUBLISHED.read_text() == text


def test_it_is_what_the_specification_takes() -> None:
    if not SPECIFICATION.is_file():
        unavailable("no npm packages: run make tests/npm/node_modules")
    validator = Draft7Validator(json.loads(SPECIFICATION.read_text()))
    assert [error.message for error in validator.iter_errors(made(**BOTH))] == []
    wrong = made(**BOTH)
    del wrong["info"]
    assert list(validator.iter_errors(wrong)) != []


@pytest.mark.parametrize(
    ("chosen", "topics"),
    [
        ({}, {"events": "raw-events"}),
        ({"PIXELCORE_TOPIC": "mine"}, {"events": "mine"}),
        (BOTH, {"events": "raw-events", "rejections": "rejected-requests"}),
    ],
    ids=["the default", "another topic", "a rejected topic"],
)
def test_its_topics_are_those_of_the_settings(chosen: dict[str, str], topics: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pixelcore", "schema", "asyncapi"]
    printed = subprocess.run(
        command, env=clean_environment(chosen), cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    channels = json.loads(printed)["channels"]
    without_events = {"lastOpens": "pixelcore-last-opens", "counts": "pixelcore-counts"}
    assert {name: channel["address"] for name, channel in channels.items()} == topics | without_events


def test_its_payload_is_the_schema_of_an_event() -> None:
    payload = made()["components"]["messages"]["events"]["payload"]
    assert payload["schema"] == {"$id": "urn:pixelcore:event", **model.schema(pixelcore.Event)}
    validator = Draft202012Validator(payload["schema"])
    assert validator.is_valid(json.loads(pixelcore.event("track", "wk=dk_1&e=E&p.a=1")))
    assert not validator.is_valid({"type": "track"})
