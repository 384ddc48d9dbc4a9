"""The live page of ``pixelcore serve --inspect``: events and rejections as they arrive, in a browser on this machine.

The process ``python -m pixelcore.inspect`` serves it, separately from the gateway. It reads the journals from the disk while a page
is open, and nothing otherwise. The gateway does not know of it, so it costs the gateway nothing.

- `server` answers requests: the page's files, and with the token the stream of lines.
- `feed` samples the lines for one page. `pixel` builds the URL of the page's form.
- ``static`` is the page itself, in plain JavaScript without dependencies.

Nothing here writes to a journal, and nothing here knows Kafka.
"""
