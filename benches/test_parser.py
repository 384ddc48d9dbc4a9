"""``pixelcore.event``, ``nest`` and ``pairs`` against what one would write today, and on queries made to be costly.

    pytest benches/test_parser.py --benchmark-only

`benches.parser` runs this and compares it with the goals. A contender is timed only when its output equals pixelcore's, since less
work is not comparable. No assertion is about time.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Final

import pixelcore
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benches import rivals
from benches.driver import CHROME
from benches.queries import ADVERSARIAL, LENGTH, QUERIES

MANY: Final = 100
"""How often a timed function calls what it is about: pytest-benchmark's own call of it takes as long as a short query."""


def call(event: Callable[..., bytes], texts: Sequence[str]) -> bytes:
    """Calls as a program has them: the rest of a request as a browser sends it, and no dictionary unpacked for each.

    The clock is given, so that outputs can be compared whole.
    """
    made = b""
    for text in texts:
        made = event(
            "track",
            text,
            ip="203.0.113.7",
            user_agent=CHROME,
            referer="https://shop.example/checkout/thanks",
            locale="en-GB,en;q=0.9,de;q=0.7",
            received_at=1_740_493_801_250,
        )
    return made


def repeat(function: Callable[[str], object], texts: Sequence[str]) -> None:
    """The same for functions of nothing but the query."""
    for text in texts:
        function(text)


EVENTS: Final[dict[str, Callable[..., bytes]]] = {
    "pixelcore": pixelcore.event,
    "urllib+json": rivals.urllib_json,
    "fast-query-parsers+orjson": rivals.fqp_orjson,
}

NESTS: Final[dict[str, Callable[..., bytes]]] = {
    "pixelcore": pixelcore.nest,
    "urllib+json": rivals.urllib_json_nest,
    "fast-query-parsers+orjson": rivals.fqp_orjson_nest,
}

PAIRS: Final[dict[str, Callable[[str], list[tuple[str, str]]]]] = {
    "pixelcore": pixelcore.pairs,
    "urllib": rivals.standard_pairs,
    "fast-query-parsers": rivals.fast_pairs,
}


def ordered(text: bytes) -> object:
    """Parsed JSON that equals another only if the order of members does too; the contract fixes it."""
    return json.loads(text, object_pairs_hook=lambda members: ("object", *members))


def note(benchmark: BenchmarkFixture, group: str, contender: str, query: str, text: str, calls: int) -> None:
    """Say in the result what was timed, for `benches.parser`."""
    benchmark.group = f"{group} {query}"
    benchmark.extra_info.update(function=group, contender=contender, query=query, query_bytes=len(text), calls=calls)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("contender", EVENTS)
def test_event(benchmark: BenchmarkFixture, contender: str, query: str) -> None:
    """A whole event: parse, check, nest, add the context, serialise."""
    event, text = EVENTS[contender], QUERIES[query]
    assert ordered(call(event, [text])) == ordered(call(pixelcore.event, [text]))
    note(benchmark, "event", contender, query, text, MANY)
    benchmark(call, event, [text] * MANY)


@pytest.mark.parametrize("query", QUERIES)
def test_event_of_new_names(benchmark: BenchmarkFixture, query: str) -> None:
    """The same where each query has a name that none had before, so that pixelcore knows nothing of its names."""
    text = QUERIES[query]
    # What is known of so many names' queries has long given way when they come again.
    chunks = itertools.cycle([[f"{text}&n{chunk}.{number}=" for number in range(MANY)] for chunk in range(100)])
    assert call(pixelcore.event, next(chunks)) == call(pixelcore.event, [text])
    note(benchmark, "event", "pixelcore, new names", query, text, MANY)
    benchmark(lambda: call(pixelcore.event, next(chunks)))


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("contender", NESTS)
def test_nest(benchmark: BenchmarkFixture, contender: str, query: str) -> None:
    """The properties alone: parse, nest, serialise."""
    nest, text = NESTS[contender], QUERIES[query]
    assert ordered(nest(text)) == ordered(pixelcore.nest(text))
    note(benchmark, "nest", contender, query, text, MANY)
    benchmark(repeat, nest, [text] * MANY)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("contender", PAIRS)
def test_pairs(benchmark: BenchmarkFixture, contender: str, query: str) -> None:
    """The bare parser."""
    pairs, text = PAIRS[contender], QUERIES[query]
    assert pairs(text) == pixelcore.pairs(text)
    note(benchmark, "pairs", contender, query, text, MANY)
    benchmark(repeat, pairs, [text] * MANY)


@pytest.mark.parametrize("query", ADVERSARIAL)
def test_adversarial(benchmark: BenchmarkFixture, query: str) -> None:
    """8 kB of what might be costly, to an event or to its rejection."""

    def outcome(text: str) -> str | None:
        try:
            call(pixelcore.event, [text])
        except pixelcore.Rejected as rejected:
            return rejected.reason
        return None

    text, expected = ADVERSARIAL[query]
    assert 0.9 * LENGTH < len(text) <= LENGTH
    assert outcome(text) == expected
    note(benchmark, "adversarial", "pixelcore", query, text, 1)
    benchmark(outcome, text)
