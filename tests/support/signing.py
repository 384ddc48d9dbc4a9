"""Builders of signed and sealed URLs, and the events of these URLs."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pixelcore

from tests.support.paths import ROOT

SECRET = "example-secret-0123456789abcdefghijklmnop"
OLDER = "older-secret-zyxwvutsrqponmlkjihgfedcba98"
EMAIL: dict[str, Any] = {
    "event": "Email Opened",
    "user_id": "jane.doe@example.com",
    "properties": {"campaign_id": "camp_001", "email_subject": "February Newsletter"},
}

# Calls come as JSON, one a line, and so do the answers.
NODE = """
const module = await import(process.argv[1]);
const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
const warnings = [];
console.warn = (text) => warnings.push(text);
for await (const line of (await import("node:readline")).createInterface({ input: process.stdin })) {
  const { base, type, key, ...more } = JSON.parse(line);
  const options = Object.fromEntries(Object.entries(more).map(([name, value]) => [camel(name), value]));
  const answer = await module.protectedUrl(base, type, key, options).then(
    (made) => ({ made }), (error) => ({ error: error.message }));
  console.log(JSON.stringify({ ...answer, warnings: warnings.splice(0) }));
}
"""

Builder = Callable[[dict[str, Any]], dict[str, Any]]


@contextlib.contextmanager
def in_javascript() -> Iterator[Builder]:
    """pixel-protect.js in Node: takes the arguments of one call, answers with ``made`` or ``error``, and ``warnings``."""
    node = shutil.which("node")
    assert node, "Node is needed: see tests/system_packages.sh"
    command = [node, "--input-type=module", "--eval", NODE, (ROOT / "docs" / "pixel-protect.js").as_uri()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        stdin, stdout = process.stdin, process.stdout

        def call(arguments: dict[str, Any]) -> dict[str, Any]:
            stdin.write(json.dumps(arguments).encode() + b"\n")
            stdin.flush()
            answer: dict[str, Any] = json.loads(stdout.readline())
            return answer

        yield call
        stdin.close()


def python(arguments: dict[str, Any]) -> dict[str, Any]:
    """The builder of Python, with the answers of the other."""
    try:
        return {"made": pixelcore.pixel_url(**arguments)}
    except ValueError as error:
        return {"error": str(error)}


def event_of(url: str, *secrets: str, type: str = "", required: bool = False) -> dict[str, Any]:
    """The event of a URL, without the members that differ from call to call. Additional paths do not name their ``type``."""
    parts = urlsplit(url)
    kind = type or parts.path.rpartition("/")[2].removesuffix(".gif")
    made = pixelcore.event(kind, parts.query, received_at=1740493801250, secrets=secrets, require_signature=required)
    event: dict[str, Any] = json.loads(made)
    if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", event["messageId"]):
        del event["messageId"]
    return event


def said(event: dict[str, Any]) -> tuple[bool, bool]:
    """The members of an event about its delivery, removed from it."""
    return event["context"].pop("signed", False), event["context"].pop("sealed", False)
