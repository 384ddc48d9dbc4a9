"""Draws the pictures of the pages: ``python -m docs.drawings`` writes docs/pictures/*.svg.

Each picture follows the reader's colour scheme, loads nothing, and is narrow enough to be read on a telephone. A picture is made
of boxes, texts and arrows at given places. tests/docs/test_drawings.py checks in Chromium that nothing overlaps or is cut off.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path

PICTURES = Path(__file__).parent / "pictures"
WIDTH = 480
FONT, SMALL = 15, 12.5

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1d1f23",
    "soft": "#53575e",
    "line": "#5b606b",
    "box": "#f1f3ff",
    "edge": "#2f4bd8",
    "store": "#fff6e5",
    "store-edge": "#a86b00",
    "kept": "#e3f5ea",
    "kept-edge": "#1f7a4a",
    "lost": "#fdeaea",
    "lost-edge": "#b3261e",
    "again": "#fff3d6",
    "again-edge": "#8a6100",
}
DARK = {
    "paper": "#1e2129",
    "ink": "#e9eaee",
    "soft": "#b9bec9",
    "line": "#a5abb8",
    "box": "#2a3054",
    "edge": "#9db0ff",
    "store": "#3a301c",
    "store-edge": "#e3b464",
    "kept": "#1d3a2b",
    "kept-edge": "#6fcf9b",
    "lost": "#4a2327",
    "lost-edge": "#ff9c95",
    "again": "#443618",
    "again-edge": "#e8bf62",
}


def style() -> str:
    """The rules of CSS of all pictures, for light and dark schemes."""
    rules = [
        "text { fill: var(--ink); text-anchor: middle }",
        ".left { text-anchor: start }",
        f".small {{ font-size: {SMALL}px; fill: var(--soft) }}",
        ".strong { font-weight: 600; fill: var(--ink) }",
        ".narrow { font-size: 13.5px }",
        f".code {{ font-family: ui-monospace, monospace; font-size: {SMALL}px }}",
        ".paper { fill: var(--paper) }",
        ".box, .store, .kept, .lost, .again { stroke-width: 1.5 }",
        ".box { fill: var(--box); stroke: var(--edge) }",
        *(
            f".{name} {{ fill: var(--{name}); stroke: var(--{name}-edge) }}"
            for name in ("store", "kept", "lost", "again")
        ),
        ".frame { fill: none; stroke: var(--line); stroke-dasharray: 6 4 }",
        ".way { fill: none; stroke: var(--line); stroke-width: 1.5; marker-end: url(#head) }",
        ".life { fill: none; stroke: var(--line) }",
        ".later { stroke-dasharray: 5 4 }",
        ".head { fill: var(--line) }",
    ]

    def scheme(colours: dict[str, str]) -> str:
        return "svg { " + "; ".join(f"--{name}: {colour}" for name, colour in colours.items()) + " }"

    return "\n".join([scheme(LIGHT), f"@media (prefers-color-scheme: dark) {{ {scheme(DARK)} }}", *rules])


class Picture:
    """A picture that grows by what is drawn on it."""

    def __init__(self, height: int, title: str) -> None:
        self._height = height
        self._title = title
        self._drawn: list[str] = []

    def text(self, x: float, y: float, text: str, kind: str = "") -> None:
        """A line of text around ``x``; from there where ``kind`` has ``left``."""
        named = f' class="{kind}"' if kind else ""
        self._drawn.append(f'<text{named} x="{x:g}" y="{y:g}">{html.escape(text, quote=False)}</text>')

    def box(self, x: float, y: float, width: float, height: float, *lines: str, kind: str = "box") -> None:
        """A box with lines of text; all but the first are small."""
        self._drawn.append(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="7"/>')
        top = y + height / 2 - 9 * (len(lines) - 1) + 5
        for number, line in enumerate(lines):
            self.text(x + width / 2, top + 18 * number, line, "small" if number else "")

    def cell(self, x: float, y: float, width: float, height: float, *lines: str, kind: str) -> None:
        """A cell of a matrix: all of its lines are small but the first, which is strong."""
        self._drawn.append(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"/>')
        top = y + height / 2 - 7.5 * (len(lines) - 1) + 4.5
        for number, line in enumerate(lines):
            self.text(x + width / 2, top + 15 * number, line, "small" if number else "small strong")

    def frame(self, x: float, y: float, width: float, height: float, text: str) -> None:
        """A dashed frame with its name at the top left."""
        self._drawn.append(f'<rect class="frame" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="9"/>')
        self.text(x + 12, y + 21, text, "small left")

    def way(self, path: str, kind: str = "") -> None:
        """An arrow along a path of SVG."""
        self._drawn.append(f'<path class="{f"way {kind}".strip()}" d="{path}"/>')

    def line(self, path: str) -> None:
        """A dashed line without a head."""
        self._drawn.append(f'<path class="life later" d="{path}"/>')

    def svg(self) -> str:
        """The file."""
        size = f'viewBox="0 0 {WIDTH} {self._height}" width="{WIDTH}" height="{self._height}"'
        font = f'font-family="system-ui, sans-serif" font-size="{FONT}"'
        marker = 'viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font} role="img">',
                f"<title>{html.escape(self._title, quote=False)}</title>",
                f"<style>\n{style()}\n</style>",
                f'<defs><marker id="head" {marker}><path class="head" d="M0,0 L8,4 L0,8 Z"/></marker></defs>',
                f'<rect class="paper" width="{WIDTH}" height="{self._height}"/>',
                *self._drawn,
                "</svg>\n",
            ]
        )


def way() -> Picture:
    """What pixelcore does, in one look."""
    picture = Picture(
        360, "A request becomes a line of the journal, then a GIF. The forwarder ships the line to Kafka."
    )
    picture.box(12, 30, 124, 56, "a mail, a page", "<img src=…>")
    picture.box(186, 30, 118, 56, "gateway", "query → event")
    picture.box(350, 30, 118, 56, "journal", "NDJSON on disk", kind="store")
    picture.way("M136,58 H182")
    picture.text(159, 50, "GET", "small")
    picture.way("M304,58 H346")
    picture.text(325, 50, "write", "small")
    picture.box(186, 136, 118, 56, "GIF", "43 bytes")
    picture.way("M386,86 V164 H308")
    picture.text(348, 156, "then", "small")
    picture.way("M186,164 H74 V90")
    picture.text(130, 156, "the receipt", "small")
    picture.box(350, 246, 118, 56, "forwarder")
    picture.way("M432,86 V242", "later")
    picture.text(396, 220, "reads on", "small")
    picture.box(12, 246, 124, 56, "raw-events", "Kafka topic", kind="store")
    picture.way("M350,274 H140", "later")
    picture.text(245, 266, "transactions, exactly once", "small")
    picture.text(240, 340, "The answer never waits for Kafka.", "small")
    return picture


def processes() -> Picture:
    """Processes and threads of a gateway."""
    picture = Picture(596, "The processes of a gateway, and the threads of a worker.")
    picture.box(12, 16, 190, 64, "server process", "port, gateway.lock")
    picture.box(276, 12, 192, 46, "metrics", "reads the data directory")
    picture.box(276, 70, 192, 46, "live page", "with --inspect")
    picture.way("M202,36 H272")
    picture.text(237, 28, "starts", "small")
    picture.way("M202,64 H238 V93 H272")
    picture.way("M108,80 V138")
    picture.text(152, 114, "starts each", "small")
    picture.frame(12, 142, 456, 258, "worker process, one of PIXELCORE_WORKERS")
    columns = {
        "answer": ["Granian’s runtime", "answering thread", "event loop"],
        "keep": ["housekeeper", "folder", "key file watcher", "committer"],
        "ship": ["forwarders", "consent follower", "stall watch", "librdkafka"],
    }
    notes = {"answer": "", "keep": "(with always)", "ship": "(with Kafka)"}
    for number, (name, threads) in enumerate(columns.items()):
        x = 22 + 148 * number
        picture.text(x + 70, 190, name, "strong")
        for row, thread in enumerate(threads):
            picture.box(x, 202 + 42 * row, 140, 34)
            picture.text(x + 70, 224 + 42 * row, thread, "narrow")
        if notes[name]:
            picture.text(x + 70, 388, notes[name], "small")
    picture.box(12, 456, 300, 60, "data directory", "journals, counters, limits, consent list", kind="store")
    picture.box(360, 456, 108, 60, "Kafka", "topics", kind="store")
    picture.way("M92,400 V452")
    picture.text(116, 432, "lines", "small")
    picture.way("M200,400 V452")
    picture.text(224, 432, "flush", "small")
    picture.way("M296,456 V404")
    picture.text(272, 432, "read", "small")
    picture.way("M414,400 V452")
    picture.text(384, 432, "batches", "small")
    picture.text(240, 548, "Workers share nothing in memory besides mapped files:", "small")
    picture.text(240, 566, "counters, rate limits and the consent list.", "small")
    return picture


def request() -> Picture:
    """The life of a request with 1s and with always."""
    picture = Picture(
        640, "The life of a request: with 1s the GIF leaves after the write, with always after the flush."
    )
    left, right, width = 12, 248, 220
    picture.box(12, 12, 456, 44, "GET: path, headers", "the answering thread reads the request")
    picture.way("M240,56 V76")
    picture.box(12, 80, 456, 44, "query → key → mode → line", "limits, signature and rate limit are checked")
    picture.way("M122,124 V180")
    picture.way("M358,124 V180")
    picture.text(left + 12, 158, "1s", "strong left")
    picture.text(right + 12, 158, "always", "strong left")

    def step(x: float, y: float, *lines: str, kind: str = "box") -> None:
        picture.box(x, y, width, 48, *lines, kind=kind)

    step(left, 184, "write(2)", "the line is in the page cache", kind="store")
    step(left, 256, "counted: accepted")
    step(left, 328, "GIF leaves", kind="kept")
    step(left, 400, "flush, once a second", "by the housekeeper", kind="store")
    step(right, 184, "the line joins a group", "with its waiting connection")
    step(right, 256, "one write(2) per group", "by the committer", kind="store")
    step(right, 328, "flush", "the lines are on the device", kind="store")
    step(right, 400, "counted: accepted")
    step(right, 472, "GIF leaves", "by the event loop", kind="kept")
    for x in (122, 358):
        picture.way(f"M{x},232 V252")
        picture.way(f"M{x},304 V324")
    picture.way("M122,376 V396", "later")
    picture.way("M358,376 V396")
    picture.way("M358,448 V468")
    picture.text(122, 490, "A power cut may take", "small")
    picture.text(122, 508, "the events since the last flush.", "small")
    picture.text(358, 546, "A power cut takes nothing", "small")
    picture.text(358, 564, "that was answered.", "small")
    picture.box(
        12, 584, 456, 44, "later: forwarder → Kafka", "reads the line from the journal, whenever Kafka is there"
    )
    return picture


def journal() -> Picture:
    """The states of a journal."""
    picture = Picture(628, "The states of a journal, from its first line to its deletion.")
    picture.text(150, 24, "no directory", "small")
    picture.way("M150,32 V64")
    picture.text(222, 54, "the first line", "small")
    picture.box(40, 68, 220, 64, "live", "the writer holds lock", kind="kept")
    picture.text(370, 86, "Segments are flushed,", "small")
    picture.text(370, 103, "repaired and measured.", "small")
    picture.way("M150,132 V190")
    picture.text(206, 158, "the worker ends:", "small")
    picture.text(224, 175, "the kernel frees lock", "small")
    picture.box(40, 194, 220, 64, "orphaned", "waits for any forwarder", kind="again")
    picture.way("M150,258 V316")
    picture.text(228, 284, "a worker or pixelcore", "small")
    picture.text(220, 301, "forward claims it", "small")
    picture.box(40, 320, 220, 64, "claimed", "forward.lock, committed offset")
    picture.way("M260,110 H306 V340 H264")
    picture.text(388, 214, "its own forwarder", "small")
    picture.text(388, 231, "claims it while", "small")
    picture.text(388, 248, "it grows", "small")
    picture.way("M40,352 H16 V226 H36", "later")
    picture.text(392, 312, "the forwarder dies:", "small")
    picture.text(392, 329, "the kernel frees", "small")
    picture.text(392, 346, "forward.lock (dashed)", "small")
    picture.way("M150,384 V442")
    picture.text(226, 410, "the writer is gone,", "small")
    picture.text(238, 427, "all events are committed", "small")
    picture.box(40, 446, 220, 64, "shipped", "nothing is left to ship", kind="kept")
    picture.way("M150,510 V568")
    picture.text(224, 534, "at once, or after", "small")
    picture.text(270, 553, "PIXELCORE_JOURNAL_RETAIN", "small code")
    picture.box(40, 572, 220, 44, "deleted")
    return picture


def exactly_once() -> Picture:
    """Claim, fence and commit, with the topics."""
    picture = Picture(
        690, "A forwarder fences its predecessor, commits a claim, reads the checkpoint, and commits batches."
    )
    old, new, kafka = 62, 226, 412
    picture.box(6, 12, 112, 48, "old owner", "of journal J")
    picture.box(162, 12, 128, 48, "new owner", "of journal J")
    picture.box(356, 12, 112, 48, "Kafka", kind="store")
    for x, end in ((old, 480), (new, 506), (kafka, 506)):
        picture.line(f"M{x},60 V{end}")

    def sent(y: float, *lines: str, back: bool = False, start: float = new, later: str = "") -> None:
        begin, end = (kafka, start + 4) if back else (start, kafka - 4)
        for number, line in enumerate(reversed(lines)):
            picture.text((start + kafka) / 2, y - 8 - 16 * number, line, "small")
        picture.way(f"M{begin},{y} H{end}", later)

    picture.text(74, 90, "1. Fence", "strong left")
    sent(112, "init_transactions")
    sent(152, "the old transaction", "is aborted", back=True, later="later")
    picture.text(74, 184, "2. Claim", "strong left")
    sent(206, "commit J/owner → new")
    picture.text(74, 238, "3. Read", "strong left")
    sent(260, "read up to the claim")
    sent(288, "J → 4711", back=True, later="later")
    picture.text(74, 320, "4. Commit", "strong left")
    sent(342, "events from 4711 on")
    sent(370, "J → 9000")
    sent(398, "commit both")
    picture.text(74, 430, "Too late:", "strong left")
    picture.text(143, 452, "the old owner commits", "small")
    picture.way(f"M{old},460 H{kafka - 4}")
    picture.way(f"M{kafka},480 H{old + 4}", "later")
    picture.text(143, 498, "refused: it is fenced", "small")
    picture.text(240, 528, "Step 4 repeats for each batch.", "small")
    picture.box(12, 546, 220, 62, "raw-events", "events 0 to 4710, 4711 to 8999", kind="store")
    picture.box(248, 546, 220, 62, "checkpoint topic", "J/owner → new, J → 9000", kind="store")
    picture.text(240, 636, "A read_committed consumer sees a batch and its", "small")
    picture.text(240, 654, "checkpoint together, or neither. Numbers are offsets", "small")
    picture.text(240, 672, "in journal J.", "small")
    return picture


# A fault, and what becomes of events in each of two modes. A line break is a bar.
ON_THE_MACHINE = (
    ("kill -9 of workers,|gateways, brokers", "kept", "kept"),
    ("SIGTERM, restart", "kept", "kept"),
    ("power cut,|kernel panic", "lost|since the last flush", "kept"),
    ("a flush fails (EIO)", "kept|unless power also fails", "lost|not accepted, counted"),
    ("disk or budget full", "lost|new events, counted", "lost|new events, counted"),
    ("damaged segment", "lost|the damaged part", "lost|the damaged part"),
    ("data disk gone", "lost|unshipped events", "lost|unshipped events"),
    ("cloned machine,|clock steps", "kept", "kept"),
)
ON_THE_WAY = (
    ("Kafka is away", "kept", "repeated|unanswered batches"),
    ("network cut,|slow or reset", "kept", "repeated|a batch"),
    ("crash before|the checkpoint", "kept", "repeated|that batch"),
    ("the topic refuses|an event", "kept|set aside in a file", "kept|set aside in a file"),
    ("unclean election,|too few replicas", "lost|perhaps", "lost|perhaps"),
)
KINDS = {"kept": "kept", "lost": "lost", "repeated": "again"}


def faults() -> Picture:
    """What survives what."""
    row, gap, first, wide = 40, 6, 150, 155
    height = 84 + (row + gap) * (len(ON_THE_MACHINE) + len(ON_THE_WAY)) + 96
    picture = Picture(height, "Events by fault and mode: kept, lost or repeated.")
    y = 16.0
    for title, heads, rows in (
        ("The gateway", ("never, 1s", "always"), ON_THE_MACHINE),
        ("To Kafka", ("exactly-once", "at-least-once"), ON_THE_WAY),
    ):
        picture.text(8, y + 14, title, "strong left")
        for column, head in enumerate(heads):
            picture.text(first + 10 + wide / 2 + (wide + 6) * column, y + 14, head, "strong")
        y += 28
        for fault, *cells in rows:
            lines = fault.split("|")
            for number, line in enumerate(lines):
                picture.text(8, y + row / 2 + 4.5 - 7.5 * (len(lines) - 1) + 15 * number, line, "small left")
            for column, cell in enumerate(cells):
                kind = KINDS[cell.partition("|")[0]]
                picture.cell(first + 10 + (wide + 6) * column, y, wide, row, *cell.split("|"), kind=kind)
            y += row + gap
        y += 20
    picture.text(240, y + 4, "Kept: in the topic once. Lost events are counted or bounded.", "small")
    picture.text(240, y + 22, "The modes are PIXELCORE_FSYNC and PIXELCORE_DELIVERY.", "small")
    return picture


def gateways() -> Picture:
    """A deployment with a balancer, gateways and brokers."""
    picture = Picture(492, "A balancer, three gateways with a disk each, and three brokers.")
    picture.box(140, 12, 200, 48, "mails and pages")
    picture.way("M240,60 V86")
    picture.box(140, 90, 200, 52, "balancer", "TLS ends here, /readyz")
    for number in range(3):
        x = 12 + 158 * number
        middle = x + 70
        picture.way(f"M240,142 V164 H{middle} V186" if number != 1 else "M240,142 V186")
        picture.box(x, 190, 140, 46, f"gateway {number + 1}", "workers")
        picture.box(x, 244, 140, 46, "data directory", "its own disk", kind="store")
        picture.way(f"M{middle},290 V336")
    picture.frame(12, 340, 456, 100, "Kafka: the events’ topics, checkpoints, consents")
    for number in range(3):
        picture.box(24 + 150 * number, 376, 132, 50, f"broker {number + 1}", kind="store")
    picture.text(240, 464, "Gateways share nothing but the topics. Each ships", "small")
    picture.text(240, 482, "the journals of its own disk.", "small")
    return picture


DRAWN: dict[str, Callable[[], Picture]] = {
    "way": way,
    "processes": processes,
    "request": request,
    "journal": journal,
    "exactly-once": exactly_once,
    "faults": faults,
    "gateways": gateways,
}


def main() -> None:
    """Write all pictures."""
    for name, draw in DRAWN.items():
        (PICTURES / f"{name}.svg").write_text(draw().svg())


if __name__ == "__main__":
    main()
