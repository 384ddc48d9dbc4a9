"""``python -m pixelcore.inspect <the gateway's address>``, which ``pixelcore serve --inspect`` starts and ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings

from ..address import why_not
from ..observing import log
from ..settings import load
from ..sidecar import LISTENING
from .server import Server

NICENESS = 10
"""On a busy processor, the gateway has priority."""


def main() -> None:
    """Serve the page until stdin closes, which happens at any end of ``pixelcore serve``.

    Prints ``LISTENING`` and the page's URL on stdout, or one line with the wrong setting.
    """
    # A terminal signals the whole group of processes, but this one must end after the server.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    settings = load()
    log.configure(settings)
    # The page shows the warnings of `pixel_url` itself.
    warnings.simplefilter("ignore", UserWarning)
    try:
        server = Server(settings, gateway=sys.argv[1])
    except OSError as error:
        print(f"PIXELCORE_INSPECT_ADDRESS: {settings.inspect_address}: {why_not(error)}")
        return
    print(LISTENING, server.url, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
