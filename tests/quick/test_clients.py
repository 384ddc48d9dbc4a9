"""Recognising clients: the table, the words, the lists of crawlers, and that people are not taken for crawlers."""

from __future__ import annotations

import json
from typing import Any

import pixelcore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pixelcore._core import know_crawlers

from tests.support import oracle

CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
IPAD = "Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
SAMSUNG = "AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0"
DOTNET = ".NET4.0C; .NET4.0E; .NET CLR 2.0.50727; .NET CLR 3.0.30729; .NET CLR 3.5.30729"
OUTLOOK = "Microsoft Outlook 16.0.5257; ms-office; MSOffice 16"
WEBVIEW = "AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/58.0.3029.83 Mobile Safari/537.36"
PEOPLE = [
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME}/142.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {CHROME}/142.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (X11; Linux x86_64) {CHROME}/142.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {CHROME}/142.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 10; K) {CHROME}/142.0.0.0 Mobile Safari/537.36",
    f"{IPHONE} CriOS/142.0.7444.77 Mobile/15E148 Safari/604.1",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME}/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
    f"Mozilla/5.0 (Linux; Android 10; K) {CHROME}/142.0.0.0 Mobile Safari/537.36 EdgA/142.0.0.0",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME}/142.0.0.0 Safari/537.36 OPR/125.0.0.0",
    f"Mozilla/5.0 (Linux; Android 10; K) {SAMSUNG} Chrome/130.0.0.0 Mobile Safari/537.36",
    # The first Edge, whose agent Gmail's prefetcher sends with another token behind it.
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME}/42.0.2311.135 Safari/537.36 Edge/12.246",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0",
    f"{IPHONE} FxiOS/145.0 Mobile/15E148 Safari/605.1.15",
    f"{MAC} Version/18.5 Safari/605.1.15",
    f"{IPHONE} Version/18.5 Mobile/15E148 Safari/604.1",
    f"{IPAD} Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
    # Apple Mail.
    MAC,
    f"{IPHONE} Mobile/15E148",
    # Outlook.
    "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
    f"Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/7.0; {DOTNET}; {OUTLOOK})",
    "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.16227; Pro)",
    "Outlook-iOS/723.4027091.prod.iphone (4.28.0)",
    # Thunderbird.
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Thunderbird/140.4.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.5.0",
    # Browsers within apps.
    f"Mozilla/5.0 (Linux; Android 7.0; SM-G930F Build/NRD90M; wv) {WEBVIEW} [FB_IAB/FB4A;FBAV/127.0.0.22.69;]",
    "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/UD1A.230803.041)",
    "Mozilla/5.0 ",
    "Mozilla/4.0",
    "",
    *(exception["example"] for exception in oracle.CLIENTS["people"]),
]


def client(user_agent: str, purpose: str = "") -> dict[str, Any] | None:
    event = json.loads(pixelcore.event("page", "wk=a", user_agent=user_agent, purpose=purpose))
    found: dict[str, Any] | None = event["context"].get("client")
    return found


@pytest.mark.parametrize("user_agent", PEOPLE)
def test_people_are_nobody_in_particular(user_agent: str) -> None:
    assert client(user_agent) is None


@pytest.mark.parametrize("entry", oracle.CLIENTS["clients"], ids=lambda entry: entry["name"])
def test_clients_of_the_table(entry: dict[str, Any]) -> None:
    arguments = ("", entry["example"]) if "purpose" in entry else (entry["example"], "")
    assert client(*arguments) == {key: entry[key] for key in ("name", "automated")}


CLIENTS: list[tuple[str, str, str | None]] = [
    (
        "a mail proxy behind a browser",
        f"Mozilla/5.0 (X11; Linux x86_64) {CHROME}/118.0.0.0 Safari/537.36 FastmailUA/1.0",
        "fastmail",
    ),
    ("a calendar's fetch is none", "FastmailUA/1.0", "fastmailua"),
    ("a list's name", "Mozilla/5.0 (compatible; DotBot/1.2; +https://opensiteexplorer.org/dotbot)", "dotbot"),
    (
        "a robot on a device",
        "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) Safari/537.36 (compatible; Zzbot/2.1)",
        "crawler",
    ),
    ("a robot of no list", "zzzcrawler/1.0", "crawler"),
    (
        "an address with a plus",
        f"Mozilla/5.0 (Macintosh) {CHROME}/102.0.0.0 Safari/537.36 Zz/1.0 (+https://zz.example)",
        "crawler",
    ),
    ("a name alone", "Mozilla/5.0 (compatible; Zzdormouse/1.0)", "crawler"),
    ("a template", "{{.custom_user_agent}}", "crawler"),
    ("a health check", "zz-health-service/1.0", "crawler"),
    ("an agent that nobody named", "My User Agent 1.0", "crawler"),
    ("a name that ends in agent", "ZzExampleAgent/2.0", "crawler"),
    ("a worker", "zz-image-worker/1.0", "crawler"),
    ("a site's name", "zzscan.io", "crawler"),
    ("a site that fetches", "Discourse/3.2.0", "crawler"),
    ("a fetcher behind another text", f"Zz Favicon Fetcher - 7 subscribers ({MAC})", "crawler"),
    ("a browser behind a word", f"Zzz, Mozilla/5.0 (X11; Linux x86_64) {CHROME}/50.0 Safari/537.36", "crawler"),
    (
        "an audit that poses as a telephone",
        f"{IPHONE} Version/18.5 Mobile/15E148 Safari/604.1 PTST/240101",
        "webpagetest",
    ),
    ("Viber's preview", "ViberUrlDownloader", "crawler"),
    ("Viber's window", f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME}/122.0 Safari/537.36 Viber/24.1.0", None),
    ("an app named by its domain backwards", "com.example.reader/1.0", None),
    ("a Mac's app", "Zzmail/5.0 (Macintosh; Mac OS X 15.0)", None),
    ("a library", "GuzzleHttp/7", "php"),
    ("Ruby's own", "Ruby", "ruby"),
    ("Java's own", "Java/17.0.9", "java"),
    ("okhttp alone", "okhttp/4.12.0", "okhttp"),
    ("okhttp in an app", "NRC Audio/2.0.0 (nl.nrc.audio; build:29; Android 12; Sdk:31) OkHttp/4.9.3", None),
    ("curl", "curl/8.5.0", "curl"),
    ("a name that begins like a library's", "Javelin/1.0 (iPhone)", None),
    ("a link preview", "WhatsApp/2.23.20.0", "whatsapp"),
    ("a telephone named like a crawler", f"Mozilla/5.0 (Linux; Android 5.1; Zeus Bandit Build/LMY47D) {WEBVIEW}", None),
    (
        "another, with an address",
        f"Mozilla/5.0 (Linux; Android 10; wv) {WEBVIEW} Studo/3.17 (https://studo.example/x)",
        None,
    ),
]


@pytest.mark.parametrize(("user_agent", "expected"), [pytest.param(*rest, id=name) for name, *rest in CLIENTS])
def test_names(user_agent: str, expected: str | None) -> None:
    assert (client(user_agent) or {}).get("name") == expected


def test_nearly_every_crawler_of_the_list_is_known() -> None:
    """But for those that are known by nothing but a word in the agent of a device that people hold."""
    agents = [agent for crawler in oracle.CRAWLERS for agent in crawler["instances"]]
    unknown = [agent for agent in agents if client(agent) is None]
    assert len(agents) > 1000
    assert len(unknown) < len(agents) / 50


def test_the_lists_are_read_once() -> None:
    with pytest.raises(ValueError, match="pattern"):
        know_crawlers(b'[{"name": "none"}]', [])
    know_crawlers(b'[{"pattern": "Chrome"}]', ["Safari"])
    assert client(f"Mozilla/5.0 (X11; Linux x86_64) {CHROME}/143.0.0.0 Safari/537.36") is None


PARTS = [
    *PEOPLE,
    *(entry.get("contains", entry.get("begins", entry["example"])) for entry in oracle.CLIENTS["clients"]),
    *(crawler["instances"][0] for crawler in oracle.CRAWLERS if crawler["instances"]),
    *(crawler["pattern"] for crawler in oracle.CRAWLERS),
]


@given(
    st.lists(
        st.sampled_from(PARTS) | st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=5), max_size=3
    ),
    st.sampled_from([str, str.lower, str.upper, str.swapcase]),
    st.sampled_from(["", "prefetch", "Prefetch;prerender", " preview ", "navigate", "prefetched", ";prefetch"]),
)
def test_against_the_oracle(parts: list[str], case: Any, purpose: str) -> None:
    user_agent = case("".join(parts))
    expected = oracle.client(user_agent, purpose)
    found = client(user_agent, purpose)
    assert found == expected if expected else found is None or found["automated"]
