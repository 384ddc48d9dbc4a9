"""Tables and property tests that need no server, no broker and no browser: ``make quick``."""
