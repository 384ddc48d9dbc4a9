"""The queries that the parser is timed on: three ordinary ones, and 8 kB of input that might be costly.

Each ordinary one carries ``mid`` and ``ts``, so that an event depends on its input alone and the outputs of all contenders can be
compared whole. They stay inside pixelcore's default limits, and hold nothing that one of the rivals is known to read
wrongly (fast-query-parsers decodes a name before it splits at ``=``), because only equal work can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

KEY: Final = "wk=dk_live_abc123"
IDENTITY: Final = "mid=a1b2c3d4&ts=1740493800000"

EMAIL: Final = (
    f"{KEY}&e=Email+Opened&uid=user_98765&p.campaign_id=camp_001&p.email_subject=February+Newsletter&cb=1740493800"
    f"&{IDENTITY}"
)
"""The everyday case: the example of an email that was opened."""

_PRODUCTS: Final = (
    ("KB-2041", "Keyboard", "89.00", "1"),
    ("MS-1187", "Mouse", "39.50", "1"),
    ("MN-2710", "Monitor+27", "349.99", "2"),
    ("CB-0003", "USB-C+cable", "9.95", "4"),
    ("DK-5520", "Dock", "129.00", "1"),
    ("HS-0420", "Headset", "74.90", "1"),
    ("WC-1080", "Webcam", "59.00", "2"),
    ("ST-0031", "Laptop+stand", "27.50", "2"),
)

ITEMS: Final = "&".join(
    (
        KEY,
        "e=Order+Completed",
        "uid=user_98765",
        "p.order.id=ORD-001",
        "p.order.total=1312.68",
        "p.order.currency=EUR",
        *(
            f"p.products.{index}.sku={sku}&p.products.{index}.name={name}"
            f"&p.products.{index}.price={price}&p.products.{index}.quantity={quantity}"
            for index, (sku, name, price, quantity) in enumerate(_PRODUCTS)
        ),
        IDENTITY,
    )
)
"""An order of eight products: 1 kB of nested names, hardly an escape. It is the nesting that costs."""

_ANSWERS: Final = (
    "Caf%C3%A9+%26+T",
    "50%25+off",
    "a%2Bb%3Dc",
    "%22so%22+%2F+so",
    "%E2%82%AC+12%2C50",
    "J%C3%BCrgen",
    "%F0%9F%99%82+ok",
    "x+%3C+y",
    "A%2FB+%7C+C",
    "%23tag+%40me",
)

ESCAPES: Final = "&".join(
    (
        KEY,
        "e=Survey+Answered",
        "uid=user%5F98765",
        *(f"p.ask%5F{number:02}={_ANSWERS[number % len(_ANSWERS)]}" for number in range(70)),
        IDENTITY,
    )
)
"""A survey of seventy flat answers, each with escapes or ``+``: 1.8 kB. It is the decoding and escaping that costs."""

QUERIES: Final = {"email": EMAIL, "items": ITEMS, "escapes": ESCAPES}

LENGTH: Final = 8192
"""The longest query by default."""

_EVENT: Final = f"{KEY}&e=Flood&{IDENTITY}&"


def _repeated(piece: str, start: str = _EVENT) -> str:
    """``piece`` again and again, as long as a query may be."""
    return (start + piece * LENGTH)[:LENGTH]


def _numbered(template: str, numbers: Sequence[int], pad: str = "x") -> str:
    """A parameter or two for each number ``{0}``; ``{1}`` is what makes them as long as a query may be."""
    room = LENGTH - len(_EVENT) - sum(len(template.format(number, "")) + 1 for number in numbers)
    padding = pad * (room // len(numbers) // template.count("{1}") // len(pad))
    return _EVENT + "&".join(template.format(number, padding) for number in numbers)


_DOWNWARDS: Final = "&".join("p" + ".a" * depth + "=x" for depth in range(1, 32))
"""A value for every node of one deep path, each of which has a member, too, but the last."""

ADVERSARIAL: Final[dict[str, tuple[str, str | None]]] = {
    "turns": (_repeated("p.a&p.b&"), "too_many_parameters"),
    "empty": (_repeated("&"), None),
    "dots": (_repeated(".", f"{_EVENT}p."), "too_deep"),
    "dots behind a long name": (_numbered("p.{1}{0}" + "." * 2000 + "=x", range(2)), "too_deep"),
    "percents": (_repeated("%", f"{_EVENT}p.a="), None),
    "plusses": (_repeated("+", f"{_EVENT}p.a="), None),
    "controls": (_repeated("%01", f"{_EVENT}p.a="), None),
    "not UTF-8": (_repeated("%FF", f"{_EVENT}p.a="), None),
    "a name not UTF-8": (_repeated("%FF", f"{_EVENT}p."), None),
    "names not UTF-8": (_numbered("p.{1}{0}=x", range(250), "%FF"), None),
    "amp;amp;": (_repeated("amp;", f"{_EVENT}amp;p."), None),
    "names of amp;": (_numbered("amp;p.{1}{0}=x", range(250), "amp;"), None),
    "values and members": (_numbered("p.a={0}{1}&p.a.b={0}{1}", range(120)), None),
    "values and members, nested": (_EVENT + "&".join([_DOWNWARDS] * 7), None),
    "one name": (_numbered("p.a={0}{1}", range(250)), None),
    "distinct names": (_numbered("p.{1}{0:03}=x", range(250)), None),
    "distinct deep paths": (_numbered("p.{0:03}" + ".a" * 27 + "={1}", range(128)), None),
    "one deep path": (_numbered("p" + ".a" * 28 + ".{0}={1}", range(128)), None),
    "deep paths in turns": (_numbered("p.a" + ".a" * 28 + "={1}&p.b" + ".a" * 28 + "={1}", range(60)), None),
    "escaped dots": (_numbered("p%2E{0}" + "%2Ea" * 26 + "={1}", range(70)), None),
    "indices backwards": (_numbered("p.x.{0}.{1}=x", range(249, -1, -1)), None),
}
"""Queries of about 8 kB within pixelcore's default limits, and what they are rejected for, if they are."""
