"""Queries for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

TOKENS = [*"&&&=%+.\0\n\u00e9\ud800", "wk=k&", "&wk=", "&e=E&", "&p.a", "&t.", "&amp;", "&uid=", "&aid=%22", "&ts=17"]
MORE = ["&mid=m", "%0A", "%0D", "%FF", "%E2%80%A8", "&utm_term=", "&p.0", ".1.", ".a.", "&p.a.0=x", "&t.a=y", "&p.a=z"]
TEXTS = st.lists(st.sampled_from(TOKENS + MORE), max_size=20).map("".join)
# Four in five examples are valid events, so that most examples test events.
QUERIES = st.sampled_from(["wk=k&e=E&"] * 4 + [""]).flatmap(lambda start: TEXTS.map(start.__add__))
