"""``python -m pixelcore.inspect <the gateway's address>``, which ``pixelcore serve --inspect`` starts and ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings

from ..observing import log
from ..settings import load
from ..sidecar import LISTENING
from .server import Server

NICENESS = 10
"""Where the processor is short, the gateway goes first."""


def main() -> None:
    """Serve the page until stdin closes, which it does when ``pixelcore serve`` ends, however it ends.

    Says ``LISTENING`` and the page's URL on stdout, or in one line what is wrong with the settings.
    """
    # A terminal's signals are for the whole group of processes; this one ends after the server.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    settings = load()
    log.configure(settings)
    # What `pixel_url` warns of, the page tells.
    warnings.simplefilter("ignore", UserWarning)
    try:
        server = Server(settings, gateway=sys.argv[1])
    except OSError as error:
        print(f"PIXELCORE_INSPECT_ADDRESS: {settings.inspect_address}: {error.strerror}")
        return
    print(LISTENING, server.url, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
