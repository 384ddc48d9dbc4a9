"""Section 3 of the contract: the result of `pixelcore.nest` for dotted paths, and section 2's typed values."""

from __future__ import annotations

import json
import random
from itertools import permutations
from typing import Any

import pixelcore
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support import oracle


def cases(*tables: list[tuple[str, Any, Any]]) -> list[Any]:
    """Rows of ``name, input, expected``, each run as a test of that name."""
    return [pytest.param(*rest, id=name) for table in tables for name, *rest in table]


def dumps(value: oracle.Json) -> str:
    """The core's JSON: compact, with only the necessary escapes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


RULE_1: list[tuple[str, str, str]] = [
    ("nothing", "", "{}"),
    ("nothing that matches", "wk=k&e=E&t.a=1&P.a=1&xp.a=1&pp.a=1", "{}"),
    ("once is a string", "p.a=1", '{"a":"1"}'),
    ("twice is an array in query order", "p.tag=b&p.tag=a", '{"tag":["b","a"]}'),
    ("equal values all count", "p.a=1&p.a=1&p.a=1", '{"a":["1","1","1"]}'),
    ("repeats need not be neighbours", "p.a=1&p.b=2&p.a=3", '{"a":["1","3"],"b":"2"}'),
    ("an empty value was sent", "p.a=&p.b", '{"a":"","b":""}'),
    ("empty values repeat too", "p.a&p.a=&p.a=x", '{"a":["","","x"]}'),
    ("numbers stay text", "p.a=007&p.b=true&p.c=1.5&p.d=null", '{"a":"007","b":"true","c":"1.5","d":"null"}'),
    ("repeats deep down", "p.a.b.c=1&p.a.b.c=2", '{"a":{"b":{"c":["1","2"]}}}'),
]

RULE_2: list[tuple[str, str, str]] = [
    ("the value first", "p.a=1&p.a.b=2", '{"a":{"":"1","b":"2"}}'),
    ("the member first", "p.a.b=2&p.a=1", '{"a":{"":"1","b":"2"}}'),
    ("in the midst", "p.a.b=2&p.a=1&p.a.c=3", '{"a":{"":"1","b":"2","c":"3"}}'),
    ("many values", "p.a=1&p.a.b=2&p.a=3", '{"a":{"":["1","3"],"b":"2"}}'),
    ("an empty value", "p.a&p.a.b=2", '{"a":{"":"","b":"2"}}'),
    ("joins a member that is there", "p.a.b=2&p.a.=3&p.a=1", '{"a":{"":["3","1"],"b":"2"}}'),
    ("joins a member yet to come", "p.a=1&p.a.b=2&p.a.=3", '{"a":{"":["1","3"],"b":"2"}}'),
    ("joins in query order", "p.a.=1&p.a=2&p.a.=3&p.a=4", '{"a":{"":["1","2","3","4"]}}'),
    ("joins where only the empty member is", "p.a=1&p.a.=2", '{"a":{"":["1","2"]}}'),
    ("without values the empty member keeps its place", "p.a.b=2&p.a.=3", '{"a":{"b":"2","":"3"}}'),
    ("falls through an empty member that has members", "p.a=1&p.a..x=2", '{"a":{"":{"":"1","x":"2"}}}'),
    ("the same the other way round", "p.a..x=2&p.a=1", '{"a":{"":{"":"1","x":"2"}}}'),
    ("falls two deep", "p.a...x=3&p.a.b=2&p.a=1", '{"a":{"":{"":{"":"1","x":"3"}},"b":"2"}}'),
    ("falls and joins", "p.a..x=2&p.a.=3&p.a=1&p.a..=4", '{"a":{"":{"":["3","1","4"],"x":"2"}}}'),
    ("on every level at once", "p.a=1&p.a.b=2&p.a.b.c=3", '{"a":{"":"1","b":{"":"2","c":"3"}}}'),
    ("on every level, backwards", "p.a.b.c=3&p.a.b=2&p.a=1", '{"a":{"":"1","b":{"":"2","c":"3"}}}'),
    ("never at the top: p has no values", "p.=1&p.a=2&p=3", '{"":"1","a":"2"}'),
    ("spoils an array", "p.x.0=a&p.x=b&p.x.1=c", '{"x":{"":"b","0":"a","1":"c"}}'),
]

RULE_3: list[tuple[str, str, str]] = [
    ("first appearance", "p.b=1&p.a=2&p.c=3&p.a=4", '{"b":"1","a":["2","4"],"c":"3"}'),
    ("also of nodes", "p.b.y=1&p.a.z=2&p.b.x=3", '{"b":{"y":"1","x":"3"},"a":{"z":"2"}}'),
    ("numbers are not sorted either", "p.x.2=c&p.x.0=a", '{"x":{"2":"c","0":"a"}}'),
    ("the empty one comes first", "p.a.z=1&p.a.y=2&p.a=3", '{"a":{"":"3","z":"1","y":"2"}}'),
    ("and moves there when it stood elsewhere", "p.a.z=1&p.a.=2&p.a=3", '{"a":{"":["2","3"],"z":"1"}}'),
]

RULE_4: list[tuple[str, str, str]] = [
    ("the example", "p.products.0.sku=A&p.products.1.sku=B", '{"products":[{"sku":"A"},{"sku":"B"}]}'),
    ("one element", "p.x.0=a", '{"x":["a"]}'),
    ("shuffled", "p.x.2=c&p.x.0=a&p.x.3=d&p.x.1=b", '{"x":["a","b","c","d"]}'),
    ("shuffled fields", "p.x.1.a=1&p.x.0.a=2&p.x.1.b=3", '{"x":[{"a":"2"},{"a":"1","b":"3"}]}'),
    ("a repeated index holds an array", "p.x.0=a&p.x.1=b&p.x.0=c", '{"x":[["a","c"],"b"]}'),
    ("arrays of arrays", "p.x.0.0=a&p.x.1.0=c&p.x.0.1=b", '{"x":[["a","b"],["c"]]}'),
    ("never at the top", "p.0=a&p.1=b", '{"0":"a","1":"b"}'),
    ("right below the top", "p.0.0=a&p.0.1=b", '{"0":["a","b"]}'),
    ("not from 1", "p.x.1=a", '{"x":{"1":"a"}}'),
    ("a gap", "p.x.0=a&p.x.2=c", '{"x":{"0":"a","2":"c"}}'),
    ("a gap below an array", "p.x.0.1=a", '{"x":[{"1":"a"}]}'),
    ("00 is no index", "p.x.00=a", '{"x":{"00":"a"}}'),
    ("01 is no index", "p.x.0=a&p.x.01=b", '{"x":{"0":"a","01":"b"}}'),
    ("0 and 00 are two members", "p.x.0=a&p.x.00=b&p.x.1=c", '{"x":{"0":"a","00":"b","1":"c"}}'),
    ("-0 and +1 are no indexes", "p.x.-0=a&p.y.%2B0=b", '{"x":{"-0":"a"},"y":{"+0":"b"}}'),
    ("a space makes no index", "p.x.+0=a&p.y.0+=b", '{"x":{" 0":"a"},"y":{"0 ":"b"}}'),
    ("other scripts' digits are no indexes", "p.x.\u0660=a&p.x.\uff11=b", '{"x":{"\u0660":"a","\uff11":"b"}}'),
    ("a name beside indexes", "p.x.0=a&p.x.n=b", '{"x":{"0":"a","n":"b"}}'),
    ("an empty name beside indexes", "p.x.0=a&p.x.=b", '{"x":{"0":"a","":"b"}}'),
    ("an escaped index", "p.x.%30=a&p.x.%31=b", '{"x":["a","b"]}'),
    ("100,000,000 allocates nothing", "p.x.100000000=v", '{"x":{"100000000":"v"}}'),
    ("nor does 2 to the 64th", "p.x.18446744073709551616=v", '{"x":{"18446744073709551616":"v"}}'),
    (
        "nor does its remainder count",
        "p.x.0=a&p.x.18446744073709551617=b",
        '{"x":{"0":"a","18446744073709551617":"b"}}',
    ),
    ("ten and more", "&".join(f"p.x.{n}={n}" for n in range(12)), dumps({"x": [*map(str, range(12))]})),
]

RULE_5_AND_NAMES: list[tuple[str, str, str]] = [
    ("p without a dot", "p=1&p&p=", "{}"),
    ("p. is the empty member", "p.=1", '{"":"1"}'),
    ("p. repeated", "p.=1&p.=2", '{"":["1","2"]}'),
    ("p.. is an empty member in one", "p..=1", '{"":{"":"1"}}'),
    ("empty segments are members", "p.a..b=1&p..c=2&p.d.=3", '{"a":{"":{"b":"1"}},"":{"c":"2"},"d":{"":"3"}}'),
    ("an escaped dot of the prefix", "p%2Ea=1", '{"a":"1"}'),
    ("an escaped p", "%70.a=1", '{"a":"1"}'),
    ("an escaped dot of the path", "p.a%2Eb%2ec=1", '{"a":{"b":{"c":"1"}}}'),
    ("a twice escaped dot is text", "p.a%252Eb=1", '{"a%2Eb":"1"}'),
    ("amp; once", "p.a=1&amp;p.b=2", '{"a":"1","b":"2"}'),
    ("amp; joins the plain name", "p.a=1&amp;p.a=2", '{"a":["1","2"]}'),
    ("amp; with an escaped semicolon", "amp%3Bp.a=1", '{"a":"1"}'),
    ("amp; is taken off as often as it is there", "amp;amp;p.a=1", '{"a":"1"}'),
    ("amp; within a path is text", "p.amp;a=1", '{"amp;a":"1"}'),
    ("Amp; is another name", "Amp;p.a=1&&amp p.a=1", "{}"),
    ("escaped and raw names are one", "p.%61=1&p.a=2&p.\u00e9=3&p.%C3%A9=4", '{"a":["1","2"],"\u00e9":["3","4"]}'),
    ("names are equal after decoding, U+FFFD too", "p.%FF=1&p.%FE=2&p.%EF%BF%BD=3", '{"\ufffd":["1","2","3"]}'),
    ("+ and %20 are one name", "p.a+b=1&p.a%20b=2&p.a%2Bb=3", '{"a b":["1","2"],"a+b":"3"}'),
    ("segments are literal", "p. a .B[0]=1&p.a=2", '{" a ":{"B[0]":"1"},"a":"2"}'),
    ("nothing is trimmed", "p.a%00=+x%0A&p.%E2%80%8B=y", '{"a\\u0000":" x\\n","\u200b":"y"}'),
    ("prototype names mean nothing", "p.__proto__.x=1&p.constructor=2", '{"__proto__":{"x":"1"},"constructor":"2"}'),
    ("no normalization", "p.e%CC%81=1&p.%C3%A9=2", '{"e\u0301":"1","\u00e9":"2"}'),
    ("an invalid escape is text", "p.a%.b%zz=%4", '{"a%":{"b%zz":"%4"}}'),
]


@pytest.mark.parametrize(("input", "expected"), cases(RULE_1, RULE_2, RULE_3, RULE_4, RULE_5_AND_NAMES))
def test_rule(input: str, expected: str) -> None:
    assert pixelcore.nest(input).decode() == expected
    assert pixelcore.nest(input.encode()).decode() == expected
    assert dumps(oracle.nest(input)) == expected, "the oracle must agree, or the property tests prove nothing"


PREFIXES: list[tuple[str, str, str]] = [
    ("t.", "p.a=1&t.a=2&t.b.c=3&t=4&amp;t.d=5", '{"a":"2","b":{"c":"3"},"d":"5"}'),
    ("t.", "p.a=1&t=2&T.a=3", "{}"),
    ("utm_", "utm_source=s&utm_campaign.id=1&utm=2", '{"source":"s","campaign":{"id":"1"}}'),
    ("data.p.", "data.p.a=1&data.a=2&p.a=3", '{"a":"1"}'),
    ("a b.", "a+b.c=1&a%20b.d=2", '{"c":"1","d":"2"}'),
    ("\u00e9.", "%C3%A9.a=1&\u00e9.b=2&%E9.c=3", '{"a":"1","b":"2"}'),
]


@pytest.mark.parametrize(("prefix", "input", "expected"), PREFIXES)
def test_prefix(prefix: str, input: str, expected: str) -> None:
    assert pixelcore.nest(input, prefix).decode() == expected
    assert pixelcore.nest(input, prefix=prefix).decode() == expected


@pytest.mark.parametrize("code", [*range(0x20), 0x22, 0x2F, 0x5C, 0x7F, 0x80, 0x9F, 0x2028, 0x2029, 0xFFFF, 0x1F600])
def test_json_escapes_are_those_of_json_dumps(code: int) -> None:
    """Quotes, backslash and the controls below U+0020 only; lowercase digits; in names as in values."""
    escaped = "".join(f"%{byte:02X}" for byte in chr(code).encode())
    expected = dumps({f"<{chr(code)}>": f"{chr(code)}x{chr(code)}"}).encode()
    assert pixelcore.nest(f"p.<{escaped}>={escaped}x{escaped}") == expected
    assert len(expected) < 40
    assert pixelcore.nest(f"p.<{chr(code)}>={chr(code)}x{chr(code)}") == expected


def test_short_escapes_byte_for_byte() -> None:
    query = "p.a=%00%01%07%08%09%0A%0B%0C%0D%0E%1B%1F%22%2F%5C%7F"
    assert pixelcore.nest(query) == rb'{"a":"\u0000\u0001\u0007\b\t\n\u000b\f\r\u000e\u001b\u001f\"/\\' + b'\x7f"}'


DEEP = 4_000


def test_deep() -> None:
    """No limit applies here, and no stack either; the answers are compared as text, because json.loads recurses."""
    dots = "p" + ".a" * DEEP + "=v"
    assert pixelcore.nest(dots).decode() == '{"a":' * DEEP + '"v"' + "}" * DEEP
    empty = "p" + "." * DEEP + "=v"
    assert pixelcore.nest(empty).decode() == '{"":' * DEEP + '"v"' + "}" * DEEP
    arrays = "p.x" + ".0" * DEEP + "=v"
    assert pixelcore.nest(arrays).decode() == '{"x":' + "[" * DEEP + '"v"' + "]" * DEEP + "}"


def test_rule_2_falls_through_thousands() -> None:
    query = "p.a=1&p.a" + "." * DEEP + "x=2"
    expected = '{"a":' + '{"":' * (DEEP - 1) + '{"":"1","x":"2"}' + "}" * (DEEP - 1) + "}"
    assert pixelcore.nest(query).decode() == expected


def test_a_value_on_every_level() -> None:
    """Half a million segments: every prefix of one path has a value, so rule 2 applies all the way down."""
    depth = 1_000
    query = "&".join("p" + ".a" * length + "=v" for length in range(1, depth + 1))
    expected = '{"a":' + '{"":"v","a":' * (depth - 1) + '"v"' + "}" * depth
    assert pixelcore.nest(query).decode() == expected


def test_wide() -> None:
    indexes = list(range(2_000))
    random.Random(1).shuffle(indexes)
    names = "&".join(f"p.n{index}={index}" for index in indexes)
    assert pixelcore.nest(names).decode() == dumps({f"n{index}": str(index) for index in indexes})
    elements = "&".join(f"p.x.{index}={index}" for index in indexes)
    assert pixelcore.nest(elements).decode() == dumps({"x": [str(index) for index in sorted(indexes)]})
    gap = elements.replace("p.x.7=", "p.x.2000=")
    assert len(json.loads(pixelcore.nest(gap))["x"]) == 2_000
    assert isinstance(json.loads(pixelcore.nest(gap))["x"], dict)
    assert pixelcore.nest("&".join(["p.a=v"] * 2_000)).decode() == dumps({"a": ["v"] * 2_000})


LITERALS = [
    *("true", "false", "0", "1", "-1", "7", "10", "-10", "123456789", "1000000000000000"),
    *("9007199254740991", "-9007199254740991", "0.5", "-0.5", "1.5", "99.99", "0.1", "0.0001", "-0.0001", "0.00012"),
    *("3.141592653589793", "0.30000000000000004", "4503599627370495.5", "123456789012345.67", "-273.15", "100.01"),
]
STRINGS = [
    *("007", "00", "-01", "+1", "1e5", "1E5", "1e-7", "-0", "0.0", "-0.0", "1.0", "1.10", "00.5", "01.5", "-.5"),
    *("0.00001", "0.00009", "-0.00001", ".5", "5.", "-", "--1", ".", "-.", "1.2.3", "1,5", "1_000", "0x10", "0b1"),
    *("NaN", "nan", "Infinity", "-Infinity", "inf", "True", "TRUE", "False", "null", "None", "yes", "on", "t", ""),
    *("9007199254740992", "-9007199254740992", "9007199254740993", "12345678901234567890", "1" * 400),
    *("9007199254740991.5", "0.1000000000000000055", "0.12345678901234567890", "1." + "0" * 300 + "1"),
    *("10000000000000000000000.5", " 1", "1 ", " true", "true ", "1\n", "\0", "1\0", "\u0661", "\uff11", "\u22121"),
]


@pytest.mark.parametrize("text", LITERALS)
def test_typed_values_become_literals(text: str) -> None:
    assert pixelcore.nest(f"p.a={text}", typed_values=True).decode() == f'{{"a":{text}}}'
    assert pixelcore.nest(f"p.a={text}").decode() == f'{{"a":"{text}"}}', "off by default"


@pytest.mark.parametrize("text", STRINGS)
def test_typed_values_stay_strings(text: str) -> None:
    query = "p.a=" + text.replace("+", "%2B").replace(" ", "+")
    assert pixelcore.nest(query, typed_values=True).decode() == dumps({"a": text})


def test_typed_values_in_every_place() -> None:
    query = "p.a=1&p.a=x&p.a=true&p.b=2&p.b.c=false&p.d.1=0.5&p.d.0=%31&p.7=t"
    expected = '{"a":[1,"x",true],"b":{"":2,"c":false},"d":[1,0.5],"7":"t"}'
    assert pixelcore.nest(query, typed_values=True).decode() == expected


DIGITS = st.from_regex(r"-?[0-9]{0,18}\.?[0-9]{0,8}", fullmatch=True)


@given(st.integers() | st.floats() | st.decimals(allow_nan=False) | DIGITS)
@settings(max_examples=300, deadline=None)
def test_typed_values_print_back(number: object) -> None:
    """Any text that becomes a number prints as the same text, so a consumer can always recover it."""
    text = str(number)
    answer = pixelcore.nest("p.a=" + text.replace("+", "%2B"), typed_values=True).decode()
    assert answer in (f'{{"a":{text}}}', dumps({"a": text}))
    value = json.loads(answer)["a"]
    assert str(value) == text
    if isinstance(value, int):
        assert abs(value) < 2**53


# Few short names, so that paths collide, and nodes become arrays, at every turn.
PATHS = st.lists(st.sampled_from(["", "0", "1", "2", "a", "b"]), min_size=1, max_size=4).map(".".join)
PARAMETERS = st.tuples(PATHS, st.sampled_from(["", "1", "x", "y"]))


def query_of(parameters: list[tuple[str, str]]) -> str:
    return "&".join(f"p.{path}={value}" for path, value in parameters)


@given(st.lists(PARAMETERS, max_size=12))
@example([("a..a", "1"), ("a", "x")])
@settings(max_examples=300, deadline=None)
def test_agrees_with_the_oracle(parameters: list[tuple[str, str]]) -> None:
    query = query_of(parameters)
    expected = oracle.nest(query)
    assert json.loads(pixelcore.nest(query)) == expected
    assert pixelcore.nest(query).decode() == dumps(expected), "the same members in another order"


@given(
    st.lists(st.sampled_from([*"&&==..p..a0%", "&p.", "&p.a.", "&amp;p.", "%2E", "+", "\u00e9", "%FF"])).map("".join)
)
@settings(max_examples=300, deadline=None)
def test_any_text_agrees_with_the_oracle(query: str) -> None:
    assert pixelcore.nest(query).decode() == dumps(oracle.nest(query))


# A path and its own "" may share one array, whose order is the query's; every other two are independent.
DISTINCT = st.lists(PARAMETERS, max_size=10, unique_by=lambda parameter: parameter[0].rstrip("."))


@given(DISTINCT, st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_the_order_of_distinct_paths_does_not_matter(parameters: list[tuple[str, str]], shuffle: random.Random) -> None:
    expected = json.loads(pixelcore.nest(query_of(parameters)))
    shuffle.shuffle(parameters)
    assert json.loads(pixelcore.nest(query_of(parameters))) == expected


def test_every_order_of_one_query() -> None:
    parameters = [("a", "1"), ("a.b", "2"), ("a..x", "3"), ("c.0", "4"), ("c.1", "5")]
    expected = {"a": {"": {"": "1", "x": "3"}, "b": "2"}, "c": ["4", "5"]}
    for order in permutations(parameters):
        assert json.loads(pixelcore.nest(query_of(list(order)))) == expected
