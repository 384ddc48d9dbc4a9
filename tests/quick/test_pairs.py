"""Section 2 of the contract, its first rule: `pixelcore.pairs` is the WHATWG urlencoded parser and nothing more."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_from_bytes, urlencode

import pixelcore
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support import oracle

R = "\ufffd"


def cases(*tables: list[tuple[str, Any, Any]]) -> list[Any]:
    """Rows of ``name, input, expected``, each run as a test of that name."""
    return [pytest.param(*rest, id=name) for table in tables for name, *rest in table]


Pairs = list[tuple[str, str]]

STRUCTURE: list[tuple[str, bytes, Pairs]] = [
    ("nothing", b"", []),
    ("only an ampersand", b"&", []),
    ("only ampersands", b"&&&&", []),
    ("one pair", b"a=b", [("a", "b")]),
    ("two pairs", b"a=b&c=d", [("a", "b"), ("c", "d")]),
    ("empty sequences are no pairs", b"&&a=b&&&c=d&", [("a", "b"), ("c", "d")]),
    ("no =", b"a", [("a", "")]),
    ("no = between others", b"x=1&a&y=2", [("x", "1"), ("a", ""), ("y", "2")]),
    ("empty value", b"a=", [("a", "")]),
    ("empty name", b"=a", [("", "a")]),
    ("only =", b"=", [("", "")]),
    ("the first = splits", b"a=b=c", [("a", "b=c")]),
    ("many =", b"===", [("", "==")]),
    ("= then &", b"=&=", [("", ""), ("", "")]),
    ("repeats keep their order", b"b=2&a=1&b=1&a=1", [("b", "2"), ("a", "1"), ("b", "1"), ("a", "1")]),
    ("; is no separator", b"a=1;b=2", [("a", "1;b=2")]),
    ("a leading ? belongs to the name", b"?a=1", [("?a", "1")]),
    ("# is no end", b"a=1#b=2&c", [("a", "1#b=2"), ("c", "")]),
    ("white space stays", b" a =\tb\r\n& ", [(" a ", "\tb\r\n"), (" ", "")]),
    ("amp; stays", b"a=1&amp;b=2&amp;amp;c", [("a", "1"), ("amp;b", "2"), ("amp;amp;c", "")]),
    ("dots and brackets mean nothing", b"p.a[0]=x&a[]=y", [("p.a[0]", "x"), ("a[]", "y")]),
    ("letter case stays", b"Wk=A&wK=a", [("Wk", "A"), ("wK", "a")]),
]

ESCAPES: list[tuple[str, bytes, Pairs]] = [
    ("+ is a space", b"a+b=c++d", [("a b", "c  d")]),
    ("only +", b"+", [(" ", "")]),
    ("%2B is a plus", b"a%2Bb=%2b%2B", [("a+b", "++")]),
    ("%20 is a space", b"%20=%20", [(" ", " ")]),
    ("+ next to an escape", b"a=+%2B+", [("a", " + ")]),
    ("both cases of hex digits", b"a=%4a%4A%6f%6F", [("a", "JJoo")]),
    ("every digit of hex", b"%30%41%5f=%7E%61%39", [("0A_", "~a9")]),
    ("an escaped & splits nothing", b"a%26b=c%26d", [("a&b", "c&d")]),
    ("an escaped = splits nothing", b"a%3Db=c", [("a=b", "c")]),
    ("an escaped = alone is a name", b"%3D", [("=", "")]),
    ("an escaped & alone is a name", b"%26", [("&", "")]),
    ("an escaped . is a dot", b"p%2Ea=1", [("p.a", "1")]),
    ("% alone", b"%", [("%", "")]),
    ("% at the ends", b"a%=%", [("a%", "%")]),
    ("one hex digit", b"a=%4", [("a", "%4")]),
    ("one hex digit before &", b"a=%4&1=b", [("a", "%4"), ("1", "b")]),
    ("one hex digit before =", b"%4=1", [("%4", "1")]),
    ("no hex digits", b"a=%zz", [("a", "%zz")]),
    ("half hex digits", b"a=%4g%g4", [("a", "%4g%g4")]),
    ("neighbours of hex digits", b"a=%/0%:0%@0%G0%`0%g0", [("a", "%/0%:0%@0%G0%`0%g0")]),
    ("%% before an escape", b"a=%%41", [("a", "%A")]),
    ("a broken escape before a whole one", b"a=%4%41%z%42", [("a", "%4A%zB")]),
    ("decoded once", b"a=%2541&%252B", [("a", "%41"), ("%2B", "")]),
    ("an escape that decodes to %", b"a=%2541%25", [("a", "%41%")]),
    ("signs and spaces are no hex digits", b"a=%+4%-1% 1", [("a", "% 4%-1% 1")]),
    ("%u is no escape", b"a=%u00e9", [("a", "%u00e9")]),
    ("NUL escaped", b"a%00b=%00", [("a\0b", "\0")]),
    ("NUL raw", b"a\0=\0", [("a\0", "\0")]),
    ("all ASCII controls", b"%01%1F%7F=%0A%0d", [("\x01\x1f\x7f", "\n\r")]),
]

# U+FFFD stands for each maximal subpart of an ill-formed sequence: as much as could have begun a character.
UTF8: list[tuple[str, bytes, Pairs]] = [
    ("escaped", b"%C3%A9=%E2%82%AC%F0%9F%98%80", [("\u00e9", "\u20ac\U0001f600")]),
    ("raw", "\u00e9=\u20ac\U0001f600".encode(), [("\u00e9", "\u20ac\U0001f600")]),
    ("half raw, half escaped", b"a=\xc3%A9%E2\x82%ac", [("a", "\u00e9\u20ac")]),
    ("least and greatest of each length", b"a=%C2%80%DF%BF%E0%A0%80%EF%BF%BF", [("a", "\x80\u07ff\u0800\uffff")]),
    ("greatest of all", b"a=%F0%90%80%80%F4%8F%BF%BF", [("a", "\U00010000\U0010ffff")]),
    ("around the surrogates", b"a=%ED%9F%BF%EE%80%80", [("a", "\ud7ff\ue000")]),
    ("noncharacters are characters", b"a=%EF%B7%90%EF%BF%BE", [("a", "\ufdd0\ufffe")]),
    ("U+FFFD itself", b"a=%EF%BF%BD", [("a", R)]),
    ("2 bytes, 1 there", b"a=%C3", [("a", R)]),
    ("2 bytes, 1 there, then ASCII", b"a=%C3x", [("a", R + "x")]),
    ("3 bytes, 1 there", b"a=%E2&b", [("a", R), ("b", "")]),
    ("3 bytes, 2 there", b"a=%E2%82", [("a", R)]),
    ("3 bytes, 2 there, then ASCII", b"a=%E2%82x", [("a", R + "x")]),
    ("4 bytes, 1 there", b"a=%F0", [("a", R)]),
    ("4 bytes, 2 there", b"a=%F0%9F", [("a", R)]),
    ("4 bytes, 3 there", b"a=%F0%9F%98", [("a", R)]),
    ("4 bytes, 3 there, then a whole one", b"a=%F0%9F%98%C3%A9", [("a", R + "\u00e9")]),
    ("one truncated after the other", b"a=%E2%82%E2%82%F0%9F", [("a", R * 3)]),
    ("truncated by +", b"a=%E2+%82", [("a", R + " " + R)]),
    ("truncated by a broken escape", b"a=%E2%8", [("a", R + "%8")]),
    ("lone continuation", b"a=%80", [("a", R)]),
    ("three continuations", b"a=%80%9F%BF", [("a", R * 3)]),
    ("one continuation too many", b"a=%C3%A9%A9", [("a", "\u00e9" + R)]),
    ("overlong 2 bytes", b"a=%C0%AF%C1%BF", [("a", R * 4)]),
    ("overlong 3 bytes", b"a=%E0%80%AF", [("a", R * 3)]),
    ("overlong 3 bytes, the greatest", b"a=%E0%9F%BF", [("a", R * 3)]),
    ("overlong 4 bytes", b"a=%F0%80%80%AF", [("a", R * 4)]),
    ("overlong 4 bytes, the greatest", b"a=%F0%8F%BF%BF", [("a", R * 4)]),
    ("first surrogate", b"a=%ED%A0%80", [("a", R * 3)]),
    ("last surrogate", b"a=%ED%BF%BF", [("a", R * 3)]),
    ("a surrogate pair (CESU-8)", b"a=%ED%A0%BD%ED%B8%80", [("a", R * 6)]),
    ("beyond U+10FFFF", b"a=%F4%90%80%80", [("a", R * 4)]),
    ("F5 and up", b"a=%F5%80%80%80%F8%FE%FF", [("a", R * 7)]),
    ("Latin-1", b"caf%E9=\xfc\xdfe", [("caf" + R, R * 2 + "e")]),
    ("the same, raw", b"a=\xe2\x82&b=\xed\xa0\x80&c=\xff", [("a", R), ("b", R * 3), ("c", R)]),
    ("invalid in the name", b"%FF%C3=%80", [(R * 2, R)]),
    ("a byte order mark stays", b"%EF%BB%BFa=%EF%BB%BFb", [("\ufeffa", "\ufeffb")]),
    ("a raw byte order mark stays", b"\xef\xbb\xbfa=1", [("\ufeffa", "1")]),
    ("UTF-16 is not guessed", b"a=%FF%FEa%00", [("a", R * 2 + "a\0")]),
    ("nothing is normalized", b"a=e%CC%81&b=%C3%A9", [("a", "e\u0301"), ("b", "\u00e9")]),
]

# What only a ``str`` can hold. Two surrogates that make a pair are one character, as in the Web's USVString.
TEXT: list[tuple[str, str, Pairs]] = [
    ("characters", "n\u00e4me=w\u20acrt\U0001f600", [("n\u00e4me", "w\u20acrt\U0001f600")]),
    ("characters and escapes", "a=\u00e9%C3%A9+", [("a", "\u00e9\u00e9 ")]),
    ("an escape that no character completes", "a=%C3\u00a9", [("a", R + "\u00a9")]),
    ("lone high surrogate", "a=\ud800", [("a", R)]),
    ("lone low surrogate in the name", "x\udfffy=1", [("x" + R + "y", "1")]),
    ("surrogateescape as WSGI has it", "a=\udcff\udce9z", [("a", R * 2 + "z")]),
    ("a pair is no lone surrogate", "a=\ud83d\ude00", [("a", "\U0001f600")]),
    ("a pair the wrong way round", "a=\ude00\ud83d", [("a", R * 2)]),
    ("a pair and a third", "a=\ud83d\ud83d\ude00", [("a", R + "\U0001f600")]),
    ("a surrogate before structure", "\ud800=\udc80&\udcff", [(R, R), (R, "")]),
    ("a surrogate inside an escape", "a=%4\ud8001", [("a", "%4" + R + "1")]),
    ("a byte order mark stays", "\ufeffa=1", [("\ufeffa", "1")]),
    ("full-width look-alikes are characters", "a\uff1d1\uff062=3\uff0b", [("a\uff1d1\uff062", "3\uff0b")]),
]


@pytest.mark.parametrize(("input", "expected"), cases(STRUCTURE, ESCAPES, UTF8))
def test_bytes(input: bytes, expected: Pairs) -> None:
    assert pixelcore.pairs(input) == expected
    assert oracle.pairs(input) == expected, "the oracle must agree, or the property tests prove nothing"


@pytest.mark.parametrize(("input", "expected"), cases(TEXT))
def test_text(input: str, expected: Pairs) -> None:
    assert pixelcore.pairs(input) == expected
    assert oracle.pairs(input) == expected


@pytest.mark.parametrize(("input", "expected"), cases(STRUCTURE, ESCAPES, UTF8))
def test_text_reads_as_its_utf8(input: bytes, expected: Pairs) -> None:
    try:
        text = input.decode()
    except UnicodeDecodeError:
        text = quote_from_bytes(input, safe=bytes(range(128)))  # the same bytes, the high ones escaped
    assert pixelcore.pairs(text) == expected


@pytest.mark.parametrize("byte", range(256))
def test_every_byte(byte: int) -> None:
    """Each byte raw (where it means nothing) and escaped in both cases."""
    text = bytes([byte]).decode("utf-8", "replace")
    assert pixelcore.pairs(b"a%%%02xb=c%%%02Xd" % (byte, byte)) == [(f"a{text}b", f"c{text}d")]
    if byte not in b"&=+%":
        assert pixelcore.pairs(b"a%cb=c%cd" % (byte, byte)) == [(f"a{text}b", f"c{text}d")]


def test_long_input_is_no_error() -> None:
    assert pixelcore.pairs(b"&".join([b"a=b"] * 100_000)) == [("a", "b")] * 100_000
    assert pixelcore.pairs("a=" + "%C3%A9" * 100_000) == [("a", "\u00e9" * 100_000)]
    assert pixelcore.pairs(b"%" * 100_000) == [("%" * 100_000, "")]


# Mostly what the parser branches on, so that every few characters are a new case.
TOKENS = st.sampled_from([*"%%%&&==++0149afAFgz.;\0", "%C3", "%A9", "%E2%82", "%F0%9F", "%ED%A0", "%80", "%FF", "amp;"])
HIGH = st.sampled_from([*range(0x80, 0x100)]).map(lambda byte: bytes([byte]))
QUERIES = st.lists(TOKENS.map(str.encode) | HIGH | st.binary(max_size=3), max_size=40).map(b"".join)
TEXTS = st.lists(TOKENS | st.characters(exclude_categories=[]), max_size=40).map("".join)


@given(QUERIES)
@example(b"%f0%9f%98%80%f0%9f%98")
@settings(max_examples=300, deadline=None)
def test_bytes_agree_with_the_oracle(query: bytes) -> None:
    assert pixelcore.pairs(query) == oracle.pairs(query)


@given(TEXTS)
@example("\ud83d\ude00")
@settings(max_examples=300, deadline=None)
def test_text_agrees_with_the_oracle(query: str) -> None:
    assert pixelcore.pairs(query) == oracle.pairs(query)


@given(st.lists(st.tuples(st.text(), st.text())))
@settings(max_examples=300, deadline=None)
def test_reads_back_what_urlencode_wrote(sent: Pairs) -> None:
    assert pixelcore.pairs(urlencode(sent)) == sent
