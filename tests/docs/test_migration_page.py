"""docs/migration.md: its block for nginx, in a real nginx before a gateway."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.nginx import ask, nginx
from tests.support.paths import ROOT
from tests.support.servers import Serve, is_gif


def test_paths_of_another_handler_become_events(serve: Serve, tmp_path: Path) -> None:
    (block,) = re.findall(
        r"^```text\n(location .*?)^```$", (ROOT / "docs" / "migration.md").read_text(), re.MULTILINE | re.DOTALL
    )
    server = serve()
    with nginx(tmp_path, server.port, locations=block) as port:
        for query in ("u=user_1", "u=a%2Bb%26c&p.x=1", "x=1"):
            status, body = ask(port, f"/open.php?{query}")
            assert status == 200
            assert is_gif(body)
    events = server.events()
    assert [event.get("userId") for event in events] == ["user_1", "a+b&c", None]
    for event in events:
        assert (event["event"], event["pipelineKey"]) == ("Email Opened", "dk_live_abc123")
        assert "properties" not in event
