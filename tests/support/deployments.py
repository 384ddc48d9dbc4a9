"""Parses the files of deploy/, and finds the programs that read them."""

from __future__ import annotations

import shlex
import shutil
from io import BytesIO
from typing import Any

import yaml
from dockerfile_parse import DockerfileParser

from tests.kafka.broker import unavailable
from tests.support.paths import ROOT

DEPLOY = ROOT / "deploy"


def tool(name: str, package: str) -> str:
    """The path of a program; some are in /usr/sbin, which not every PATH has."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    return found or unavailable(f"no {name}: install {package}, or run tests/system_packages.sh test")


def stages() -> list[dict[str, list[str]]]:
    """The values of the instructions of each of the Dockerfile's stages."""
    found: list[dict[str, list[str]]] = []
    # With a file object, the parser reads nothing else and writes nothing.
    for entry in DockerfileParser(fileobj=BytesIO((DEPLOY / "Dockerfile").read_bytes())).structure:
        if entry["instruction"] == "FROM":
            found.append({})
        if found:
            found[-1].setdefault(entry["instruction"], []).append(entry["value"])
    return found


IMAGE = stages()[-1]
IMAGE_ENV = dict(word.split("=", 1) for word in shlex.split(IMAGE["ENV"][0]))
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
OBJECTS = list(yaml.safe_load_all((DEPLOY / "pixelcore.yaml").read_text()))


def objects(kind: str) -> list[dict[str, Any]]:
    return [thing for thing in OBJECTS if thing["kind"] == kind]


STATEFUL_SET = objects("StatefulSet")[0]["spec"]
POD = STATEFUL_SET["template"]["spec"]
CONTAINER = POD["containers"][0]
