"""Which tests a module has: the quick ones first, since the first that fails is enough."""

from __future__ import annotations

VALUES = "quick/test_real_values.py"
SHIPS = "shipping/test_delivery.py::test_forward_ships_a_directory"
SETTINGS = ["commands/test_settings.py", "commands/test_help.py"]
HTTP = ["serving/test_http.py", "serving/test_paths.py", "serving/test_hostile_http.py"]
COMMANDS = ["commands/test_errors.py", "commands/test_listening.py", "commands/test_cli.py"]
REPLAYS = [
    f"commands/test_replay.py::test_{name}"
    for name in (
        *(
            "a_choice_leaves_the_rest_for_later",
            "a_dry_run_changes_nothing",
            "nothing_to_replay",
            "records_that_are_none",
        ),
        *(
            "the_note_cannot_be_written",
            "one_at_a_time",
            "dropped_journals_are_forgotten",
            "ranges_are_what_they_cover",
        ),
    )
]

TESTS: dict[str, list[str]] = {
    "shipping/policies.py": [
        *("quick/test_policies.py", "quick/test_shipping_policies.py", VALUES, "quick/test_journal_shipper.py"),
    ],
    "shipping/journal_shipper.py": [
        *(
            "quick/test_journal_shipper.py",
            "quick/test_journal_ends.py",
            "quick/test_forwarder_orders.py",
            VALUES,
            SHIPS,
        ),
    ],
    "shipping/forwarder.py": [
        *("quick/test_forwarder_orders.py", "quick/test_forwarder_threads.py", VALUES, SHIPS),
    ],
    "shipping/delivery.py": [
        "quick/test_deliveries.py",
        "quick/test_transactions.py",
        VALUES,
        SHIPS,
        "shipping/test_refusals.py::test_pipelines_have_topics_of_their_own",
    ],
    "shipping/checkpoints.py": ["quick/test_shipping_policies.py", VALUES, "shipping/test_checkpoints.py"],
    "shipping/consent_follower.py": ["consents/test_follower.py"],
    "shipping/withdrawals.py": ["quick/test_destinations.py", "consents/test_withdrawals.py"],
    "shipping/topics.py": ["quick/test_destinations.py", SHIPS, "shipping/test_stalls.py", "commands/test_check.py"],
    "shipping/*.py": [
        "quick/test_shipping_policies.py",
        "quick/test_destinations.py",
        VALUES,
        SHIPS,
        "shipping/test_refusals.py",
        "commands/test_check.py",
    ],
    "observing/backlog.py": ["quick/test_lag.py"],
    "observing/stalls.py": ["quick/test_stalls.py", VALUES],
    "observing/counters.py": ["quick/test_observing.py", "quick/test_counters.py"],
    "observing/log.py": [
        "quick/test_observing.py",
        VALUES,
        "observing/test_log_on_a_terminal.py",
        "observing/test_log.py",
    ],
    "observing/*.py": ["observing/test_metrics.py", "deploy/test_deploy_metrics.py"],
    "serving/housekeeping.py": ["quick/test_serving.py", VALUES, "serving/test_worker.py"],
    "serving/safety.py": ["quick/test_serving.py", VALUES, "quick/test_noticed.py"],
    "serving/rate_limits.py": [VALUES, "serving/test_rates.py"],
    "serving/key_file.py": ["quick/test_key_file.py", "serving/test_keys.py", "serving/test_pipelines.py"],
    "serving/worker.py": ["quick/test_serving.py", VALUES, "serving/test_keys.py", "serving/test_worker.py", SHIPS],
    "serving/handover.py": ["quick/test_handover.py", VALUES, "deploy/test_scale_out.py", "serving/test_lifecycle.py"],
    "serving/*.py": ["serving/test_granian_inline.py", "serving/test_worker.py"],
    "app.py": [
        "quick/test_app.py",
        "quick/test_serving.py",
        "quick/test_noticed.py",
        "serving/test_address.py",
        *HTTP,
        "serving/test_compat_http.py",
    ],
    "inspect/feed.py": ["quick/test_inspect_feed.py", VALUES],
    "inspect/pixel.py": ["quick/test_inspect_feed.py"],
    "inspect/*.py": ["inspect/test_inspect_server.py", VALUES, "inspect/test_inspect.py"],
    "commands/replay.py": ["quick/test_replays.py", *REPLAYS],
    "commands/tail.py": [
        *("quick/test_tails.py", VALUES, "commands/test_tail.py"),
        "commands/test_cli.py::test_tail_follows_journals_old_and_new",
    ],
    "commands/records.py": ["commands/test_tail.py"],
    "commands/url.py": ["quick/test_url_command.py", "commands/test_url.py"],
    "commands/forward.py": ["commands/test_progress.py", SHIPS, "shipping/test_refusals.py"],
    "commands/check*.py": ["commands/test_check.py"],
    "commands/*.py": [*SETTINGS, *COMMANDS],
    "datadir.py": ["quick/test_datadir.py", "hostile/test_files.py"],
    "files.py": ["quick/test_datadir.py", "quick/test_replays.py", "hostile/test_files.py"],
    "journals.py": [
        "quick/test_lag.py",
        "quick/test_tails.py",
        "quick/test_journal_shipper.py",
        "quick/test_journal_ends.py",
        "quick/test_forwarder_orders.py",
    ],
    "settings.py": [
        "quick/test_setting_bounds.py",
        *SETTINGS,
        "docs/test_docs.py::test_the_table_of_settings_is_that_of_the_code",
    ],
    "setting_texts.py": SETTINGS,
    "url.py": ["quick/test_url_command.py", "commands/test_url.py", "quick/test_signing.py"],
    "model.py": ["quick/test_model.py", "docs/test_asyncapi.py"],
    "address.py": ["commands/test_settings.py", "commands/test_listening.py"],
    "paths.py": ["serving/test_paths.py", "commands/test_settings.py"],
    "timeouts.py": ["quick/test_timeouts.py"],
    "printable.py": ["commands/test_tail.py", "hostile/test_terminal.py"],
    "*.py": ["serving/test_worker.py", *COMMANDS],
}
TESTS_OF_CORE = [
    *("quick", "journal/test_journal.py", "journal/test_journal_budget.py", "journal/test_journal_damage.py"),
    *("commands/test_replay.py", "serving/test_address.py", "serving/test_keys.py", "serving/test_rates.py"),
]
NOT_TRIED = frozenset({"__main__.py", "inspect/__main__.py", "asyncapi.py", "errors.py"})
"""What runs once and is seen at once, or has nothing to decide."""
