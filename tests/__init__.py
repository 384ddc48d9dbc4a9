"""The tests of pixelcore, with a folder for each part. Helpers are in ``support``."""

import pytest

# Assertions in helpers are rewritten like those in tests, so that they show their values.
pytest.register_assert_rewrite("tests.support")
