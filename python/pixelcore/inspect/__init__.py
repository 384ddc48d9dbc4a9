"""The live page of ``pixelcore serve --inspect``: events and rejections as they arrive, in a browser on this machine.

It is served by ``python -m pixelcore.inspect``, a process of its own beside the gateway. It reads the journals from the
disk while a page is open, and nothing while none is; the gateway knows nothing of it, so it costs the gateway nothing.
"""
