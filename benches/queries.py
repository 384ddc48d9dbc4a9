"""The three queries that the parser is timed on.

Each carries ``mid`` and ``ts``, so that an event depends on its input alone and the outputs of all contenders can be
compared whole. They stay inside pixelcore's default limits, and hold nothing that one of the rivals is known to read
wrongly (fast-query-parsers decodes a name before it splits at ``=``), because only equal work can be compared.
"""

from __future__ import annotations

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
