"""deploy/envoy.yaml: what its access log has of a request, and what it must not do."""

from __future__ import annotations

import re

import yaml

from tests.support.deployments import DEPLOY

# What would tell who asked, or what the query has; https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage
TELLING = r"ADDRESS|%PATH\(WQ|%PATH\(\)|%REQ\((?!:METHOD\))|REQUEST_HEADER|QUERY|STREAM_ID|TRACE|COOKIE|PEER"


def test_the_log_has_neither_address_nor_query() -> None:
    text = (DEPLOY / "envoy.yaml").read_text()
    (listener,) = yaml.safe_load(text)["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (log,) = manager["access_log"]
    line = log["typed_config"]["log_format"]["text_format_source"]["inline_string"]
    assert "%PATH(NQ)%" in line
    assert re.findall(TELLING, line) == []
    assert re.findall(TELLING, "%DOWNSTREAM_REMOTE_ADDRESS% %PATH()% %REQ(:PATH)%") != [], "and they would be found"
    assert manager["generate_request_id"] is False
    assert "retry_policy" not in text, "a request that is sent twice may be two events"
    assert not re.search("set_cookie|set-cookie|redirect|etag|cache", text, re.IGNORECASE)
