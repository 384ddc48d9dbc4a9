"""Commands that pages show and that are proved elsewhere."""

from __future__ import annotations

import re

from tests.support.paths import ROOT

# Commands that pages show and that are proved elsewhere: by what they begin with, and by which test.
PROVED = {
    "make quick": "tests/docs/test_docs.py::test_make_quick_runs_what_there_is",
    "make wheel": "tests/deploy/test_packaging.py::test_the_wheel_has_what_it_needs",
    "pip install dist/pixelcore-*.whl": "tests/deploy/test_packaging.py::test_readme_runs_with_the_wheel_alone",
    "pip install duckdb matplotlib": "tests/docs/test_examples.py::test_landing_and_plotting",
    "pip install dist/pixelcore_gateway-*.whl": "tests/deploy/test_packaging.py::test_readme_runs_with_the_wheel_alone",
    "make sdist": "tests/deploy/test_packaging.py::test_the_sdist_builds",
    "make docs": "tests/docs/test_docs.py::test_the_site_builds",
    "make bench": "tests/quick/test_bench_report.py::test_every_figure_and_goal_is_on_the_page",
    "pixelcore forward --undeliverable": "tests/shipping/test_refusals.py::test_they_are_shipped_again_once_the_topic_is_repaired",
    "cargo test ": "tests/docs/test_readme.py::test_the_first_commands_are_those_that_are_tried",
    ".venv/bin/pytest tests/": "tests/docs/test_docs.py::test_paths_that_contributing_names_exist",
    # Without a Docker daemon, a running systemd and a cluster; deploy/README.md says what of them was not run.
    "docker ": "tests/deploy/test_deploy.py::test_compose_follows_its_specification",
    "kubectl ": "tests/deploy/test_deploy.py::test_kubernetes_takes_the_objects",
    "useradd ": "tests/deploy/test_deploy.py::test_systemd_takes_the_unit",
    "python3 -m venv /opt/": "tests/deploy/test_deploy.py::test_systemd_takes_the_unit",
    "/opt/pixelcore/bin/pip ": "tests/deploy/test_deploy.py::test_systemd_takes_the_unit",
    "install -": "tests/deploy/test_deploy.py::test_systemd_takes_the_unit",
    "systemctl ": "tests/deploy/test_deploy.py::test_systemd_takes_the_unit",
}


def proved(command: str) -> bool:
    """Whether a command is not run on its page, because another test or CI itself runs it."""
    in_ci = re.findall(r"^make (.+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    targets = {f"make {target}" for line in in_ci for target in line.split()}
    return command in targets or command.startswith(tuple(PROVED))
