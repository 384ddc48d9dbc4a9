"""Section 5 of the contract: the key file at the start, and the pages that may use a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kafka.broker import free_port
from tests.support.commands import run
from tests.support.key_files import BROKEN, outcome, pipeline, put
from tests.support.servers import Serve


@pytest.mark.parametrize(("content", "said"), [pytest.param(*row[1:], id=row[0]) for row in BROKEN])
def test_a_broken_file_stops_the_start(tmp_path: Path, content: str | bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "keys.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    started = run("serve", "--keys-file", "keys.toml", "--bind", f"127.0.0.1:{free_port()}", cwd=tmp_path)
    assert (started.returncode, started.stdout) == (1, "")
    (line,) = started.stderr.splitlines()
    assert line.startswith(f"Error: PIXELCORE_KEYS_FILE: keys.toml: {said}")

    checked = run("check", "--keys-file", "keys.toml", cwd=tmp_path)
    assert checked.returncode == 1
    (line,) = (line for line in checked.stdout.splitlines() if line.startswith("FAIL"))
    assert line.startswith(f"FAIL key file          PIXELCORE_KEYS_FILE: keys.toml: {said}")


SHOP = {"domain_allowlist": '["shop.example", "bücher.example", "192.0.2.1"]'}
ALLOWED, REFUSED = "accepted", "domain_not_allowed"
# name, headers, what becomes of the request
DOMAINS: list[tuple[str, dict[str, str], str]] = [
    ("a mail has neither", {}, ALLOWED),
    ("Origin", {"Origin": "https://shop.example"}, ALLOWED),
    ("Referer", {"Referer": "https://shop.example/a?b#c"}, ALLOWED),
    ("a subdomain", {"Origin": "https://a.b.shop.example:8443"}, ALLOWED),
    ("another case", {"Referer": "HTTPS://WWW.Shop.Example/"}, ALLOWED),
    ("an IDN, as browsers send it", {"Origin": "https://xn--bcher-kva.example"}, ALLOWED),
    ("an address", {"Origin": "http://192.0.2.1:8000"}, ALLOWED),
    ("another domain", {"Origin": "https://example.com"}, REFUSED),
    ("one that ends alike", {"Origin": "https://notshop.example"}, REFUSED),
    ("the parent", {"Referer": "https://example/"}, REFUSED),
    ("a domain in the path", {"Referer": "https://example.com/shop.example"}, REFUSED),
    ("Origin counts before Referer", {"Origin": "https://example.com", "Referer": "https://shop.example/"}, REFUSED),
    ("Referer where Origin says nothing", {"Origin": "null", "Referer": "https://shop.example/"}, ALLOWED),
    ("Origin says nothing, Referer is another's", {"Origin": "null", "Referer": "https://example.com/"}, REFUSED),
    ("rubbish", {"Referer": "shop.example"}, REFUSED),
]


def test_domains(serve: Serve, tmp_path: Path) -> None:
    put(file := tmp_path / "keys.toml", pipeline("dk_live_shop", **SHOP) + pipeline("dk_live_all"))
    server = serve({"PIXELCORE_KEYS_FILE": str(file), "PIXELCORE_DEBUG_HEADER": "true"}, command="granian")
    assert {name: outcome(server, "dk_live_shop", headers) for name, headers, _ in DOMAINS} == {
        name: expected for name, _, expected in DOMAINS
    }
    assert {outcome(server, "dk_live_all", headers) for _, headers, _ in DOMAINS} == {ALLOWED}
    members = [list(event)[4:7] for event in server.events()]
    assert {tuple(names) for names in members} == {("receivedAt", "pipelineKey", "pipelineId")}
    assert {event["pipelineId"] for event in server.events()} == {"pip_shop", "pip_all"}
    assert {record["reason"] for record in server.rejections()} == {REFUSED}


def test_the_banner_says_which_keys(serve: Serve, tmp_path: Path) -> None:
    assert "  keys           every well-formed key is accepted" in serve().log()
    put(file := tmp_path / "keys.toml", pipeline("dk_live_1") + pipeline("dk_live_2", enabled=False))
    assert f"  keys           2 from {file}, and no others" in serve({"PIXELCORE_KEYS_FILE": str(file)}).log()
