"""Section 8 of the contract with real servers: from a mail in a browser to the event, and the data that stays hidden from others."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pixelcore
from click.testing import CliRunner
from pixelcore.commands.main import main

from tests.kafka.broker import free_port
from tests.support.commands import run
from tests.support.deployments import tool
from tests.support.key_files import put
from tests.support.servers import Serve
from tests.support.signing import EMAIL, OLDER, SECRET, in_javascript, python
from tests.support.waiting import wait_for
from tests.support.website import dump_dom, website
from tests.support.wire import ask

KEY = "dk_live_abc123"


def pipeline(secrets: list[str], required: bool = False) -> str:
    lines = ["[[pipeline]]", 'id = "pip_1"', f'key = "{KEY}"', f"secrets = {json.dumps(secrets)}"]
    return "\n".join([*lines, f"require_signature = {json.dumps(required)}", ""])


@contextmanager
def nginx(directory: Path, upstream: int) -> Iterator[int]:
    """nginx that logs whole request lines, as most do, in front of a gateway; yields its port."""
    port = free_port()
    temporary = "".join(f"{name}_temp_path {directory}/{name};" for name in ("proxy", "fastcgi", "uwsgi", "scgi"))
    site = f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{upstream}; }} }}"
    path = directory / "nginx.conf"
    path.write_text(
        f"daemon off; master_process off; pid {directory}/pid; error_log stderr; events {{}} http {{ "
        f"client_body_temp_path {directory}/body; {temporary} access_log {directory}/access.log combined; {site} }}\n"
    )
    process = subprocess.Popen([tool("nginx", "nginx"), "-e", "stderr", "-c", str(path)], stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: process.poll() is not None or listens(port))
        yield port
    finally:
        process.kill()
        process.wait(60)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def without_ids(event: dict[str, Any]) -> dict[str, Any]:
    """An event without what no two have alike."""
    return {name: value for name, value in event.items() if name not in ("messageId", "timestamp", "receivedAt")}


def test_a_sealed_mail(serve: Serve, tmp_path: Path) -> None:
    """Its clear twin's event, of each builder, and the address is nowhere else."""
    put(tmp_path / "keys.toml", pipeline(["env:NEWSLETTER_SECRET"]))
    settings = {"PIXELCORE_KEYS_FILE": str(tmp_path / "keys.toml"), "PIXELCORE_DEBUG_HEADER": "true"}
    server = serve(settings | {"NEWSLETTER_SECRET": SECRET})
    with nginx(tmp_path, server.port) as port, in_javascript() as javascript:
        arguments = {"base": f"http://127.0.0.1:{port}", "type": "track", "key": KEY, **EMAIL}
        flags = ["--base", arguments["base"], "--key", KEY, "--event", EMAIL["event"], "--user-id", EMAIL["user_id"]]
        flags += ["-P", json.dumps(EMAIL["properties"]), "--secret-env", "NEWSLETTER_SECRET", "--seal"]
        printed = CliRunner().invoke(main, ["url", "track", *flags], env={"NEWSLETTER_SECRET": SECRET}).stdout.strip()
        sealed = [builder({**arguments, "secret": SECRET, "seal": True})["made"] for builder in (python, javascript)]
        stolen = pixelcore.pixel_url(**arguments, secret=OLDER, seal=True)
        mail = "".join(map(pixelcore.img_tag, [*sealed, printed, stolen]))
        with website(f"<!doctype html><title>mail</title>{mail}") as site:
            dump_dom(f"{site}/page", tmp_path / "profile")
        wait_for(lambda: len(server.events()) == 3 and len(server.rejections()) == 1)
        seen = server.events()
        # nginx logs a request after it has answered.
        access = tmp_path / "access.log"
        wait_for(lambda: access.read_text().count("/v1/pixel/track?wk=dk_live_abc123&x=") == 4)
        log = access.read_text()
        with urllib.request.urlopen(pixelcore.pixel_url(**arguments)) as answer:
            assert answer.status == 200
        twin = server.events()[-1]
    for event in seen:
        assert (event["context"].pop("signed"), event["context"].pop("sealed")) == (True, True)
        assert (event["userId"], event["pipelineId"]) == (EMAIL["user_id"], "pip_1")
        # A browser says more in its headers than the twin's client.
        event["context"], twin["context"] = {}, {}
        assert without_ids(event) == without_ids(twin)
    (rejection,) = server.rejections()
    assert rejection["reason"] == "bad_signature"
    for place in (log, json.dumps(rejection), server.log()):
        assert not any(part in place for part in ("jane", "example.com", "camp_001", SECRET, OLDER)), place
    assert all(len(url) < 400 for url in [*sealed, printed])


def test_secrets_come_and_go(serve: Serve, tmp_path: Path) -> None:
    """URLs are signed before it is required, required later, with another secret added. Requests that were rejected meanwhile are replayed."""
    file = tmp_path / "keys.toml"
    put(file, pipeline([OLDER]))
    settings = {"PIXELCORE_KEYS_FILE": str(file), "PIXELCORE_DEBUG_HEADER": "true"}
    server = serve(settings | {"PIXELCORE_METRICS_ADDRESS": f"127.0.0.1:{free_port()}"})

    def target(mid: str, secret: str | None = None, **more: Any) -> str:
        arguments: dict[str, Any] = {"base": server.url, "type": "track", "key": KEY, **EMAIL, "message_id": mid}
        return pixelcore.pixel_url(**arguments, secret=secret, **more).removeprefix(server.url)

    def outcome(mid: str, secret: str | None = None, **more: Any) -> str | None:
        return ask(server, target(mid, secret, **more)).header("x-pixelcore")

    assert outcome("clear") == "accepted"
    assert outcome("older", OLDER) == outcome("older sealed", OLDER, seal=True) == "accepted"
    assert outcome("newer", SECRET) == outcome("newer sealed", SECRET, seal=True) == "bad_signature"
    assert server.get(target("clear").replace("&e=", f"&s={'A' * 22}&e=")).is_pixel
    put(file, pipeline([OLDER, "env:NOT_SET_ANYWHERE"]))
    wait_for(lambda: "the secret env:NOT_SET_ANYWHERE is not set; the previous keys stay in force" in server.log())
    assert outcome("older again", OLDER) == "accepted"
    put(file, pipeline([SECRET, OLDER], required=True))
    wait_for(lambda: outcome("unsigned") == "unsigned")
    assert outcome("late") == "unsigned"
    assert outcome("both", OLDER) == outcome("both", SECRET, seal=True) == "accepted"

    metrics = urllib.request.urlopen(f"http://{server.settings['PIXELCORE_METRICS_ADDRESS']}/metrics").read().decode()
    counted = dict(re.findall(r'pixelcore_protected_total{protection="(\w+)"} (\d+)', metrics))
    assert int(counted["unsigned"]) >= 1
    assert (counted["signed"], counted["sealed"]) == ("3", "2")
    records = server.rejections()
    assert {record["reason"] for record in records} == {"bad_signature", "unsigned"}
    assert "jane" not in json.dumps([record for record in records if "x=" in record["query"]])
    for place in (server.log(), metrics, json.dumps(records)):
        assert not any(secret in place for secret in (SECRET, OLDER))
    assert "jane" not in server.log() + metrics

    ended = run("replay", "--data-dir", str(server.data_dir), "--keys-file", str(file), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    replayed = {event["messageId"]: event for event in server.events()}
    for mid, sealed in (("newer", None), ("newer sealed", True)):
        assert replayed[mid]["userId"] == EMAIL["user_id"]
        assert (replayed[mid]["context"]["signed"], replayed[mid]["context"].get("sealed")) == (True, sealed)
    assert "late" not in replayed, "nobody has signed it since"
