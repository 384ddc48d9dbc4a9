"""The command ``pixelcore``: one module per subcommand.

- `main` is the group, and turns errors into one line and an exit code. `checks` are the steps of ``pixelcore check``.
- `flags` makes a flag for each setting; `setting_help` describes the settings to people.
- `listening` holds the address of ``pixelcore serve``. `records` selects and shows lines for ``pixelcore tail``.
- `progress` reports long work. `nothing` is the exit code 3.

A command imports Granian, Kafka's client and `rich` only when it needs them, so that ``--help`` is fast. Results go to stdout,
everything else to stderr. No other package imports this one.
"""
