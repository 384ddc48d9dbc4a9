"""Releases: wheel and sdist, refused environments, and the workflows as far as they can be tried without running them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pixelcore
import pytest
import tomli
import yaml

from tests.support import smoke
from tests.support.builds import building
from tests.support.pages import BROKER, Runner
from tests.support.paths import ROOT
from tests.support.proofs import proved

BIN = Path(sys.executable).parent
CARGO = tomli.loads((ROOT / "Cargo.toml").read_text())
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
README = ROOT / "README.md"


def make(target: str, dist: Path) -> Path:
    """The only file that a target puts into ``dist``."""
    with building():
        subprocess.run(["make", "--silent", target, f"DIST={dist}"], cwd=ROOT, check=True)
    (made,) = dist.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make("sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def empty(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with nothing but the wheel and what it depends on."""
    return smoke.install(wheel.parent, tmp_path_factory.mktemp("environment") / "venv")


@pytest.mark.timeout(1800)
def test_the_wheel_has_what_it_needs(wheel: Path) -> None:
    assert re.fullmatch(rf"pixelcore_gateway-{re.escape(pixelcore.__version__)}-cp310-abi3-\w+\.whl", wheel.name)
    ours = {f"pixelcore/{path.name}" for path in (ROOT / "python" / "pixelcore").glob("*.py*")}
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        assert ours | {"pixelcore/py.typed", "pixelcore/_core.abi3.so"} <= names
        assert {name.split("/")[0].split("-")[0] for name in names} <= {
            "pixelcore",
            "pixelcore.libs",
            "pixelcore_gateway",
            "pixelcore_gateway.libs",
        }
        assert f"pixelcore_gateway-{pixelcore.__version__}.dist-info/licenses/LICENSE" in names
    assert wheel.stat().st_size < 5_000_000
    # Nothing but what CPython 3.10 and all later ones have.
    audited = subprocess.run([BIN / "abi3audit", "--strict", wheel], capture_output=True, text=True, check=False)
    assert audited.returncode == 0, audited.stdout + audited.stderr


@pytest.mark.timeout(1800)
def test_the_wheel_serves_in_an_empty_environment(empty: Path, tmp_path: Path) -> None:
    """The check of every wheel of a release, ``make smoke``."""
    smoke.serve(empty, tmp_path)


@pytest.mark.kafka
@pytest.mark.timeout(1800)
def test_readme_runs_with_the_wheel_alone(empty: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    assert BROKER in README.read_text()
    bootstrap = request.getfixturevalue("broker").bootstrap
    path = smoke.without_rust()["PATH"]
    assert shutil.which("cargo", path=path) is None
    Runner(README, tmp_path / "clone", empty, bootstrap, proved, path).run()


@pytest.mark.timeout(1800)
def test_the_sdist_builds(sdist: Path, tmp_path: Path) -> None:
    top = f"pixelcore_gateway-{pixelcore.__version__}/"
    with tarfile.open(sdist) as file:
        names = {name.removeprefix(top) for name in file.getnames()}
    assert {"Cargo.lock", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml", "rust/python/build.rs"} <= names
    tracked = subprocess.run(
        ["git", "ls-files", "rust/core", "rust/python", "python"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    missing = {name for name in tracked.stdout.splitlines() if (ROOT / name).exists()} - names
    assert not missing
    assert sdist.stat().st_size < 500_000
    # Its dependencies are those of this checkout, compiled as they are.
    environment = {**os.environ, "CARGO_TARGET_DIR": str(ROOT / "target")}
    pip = [str(BIN / "pip"), "install", "--quiet", "--no-deps", "--target", str(tmp_path), str(sdist)]
    with building():
        subprocess.run(pip, env=environment, check=True)
    code = "import pixelcore; print(pixelcore.__file__, pixelcore.nest('p.a=1').decode())"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert said == f'{tmp_path / "pixelcore" / "__init__.py"} {{"a":"1"}}\n'


@pytest.mark.timeout(600)
def test_free_threaded_pythons_are_refused(tmp_path: Path) -> None:
    """The extension's build script, in a crate with nothing else, told of an interpreter as pyo3-ffi tells it."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "lib.rs").touch()
    shutil.copy(ROOT / "Cargo.lock", tmp_path)
    version = CARGO["workspace"]["dependencies"]["pyo3-build-config"]
    manifest = '[package]\nname = "refused"\nedition = "2024"\n[workspace]\n[build-dependencies]\n'
    (tmp_path / "Cargo.toml").write_text(f'{manifest}pyo3-build-config = "{version}"\n')

    def check(flags: str) -> tuple[int, str]:
        interpreter = f"implementation=CPython\nversion=3.14\nshared=true\nbuild_flags={flags}\n".encode().hex()
        shutil.copy(ROOT / "rust" / "python" / "build.rs", tmp_path)  # newer than what was built from it
        environment = {
            **os.environ,
            "DEP_PYTHON_PYO3_CONFIG": interpreter,
            "CARGO_TARGET_DIR": str(tmp_path / "target"),
        }
        cargo = ["cargo", "check", "--quiet"]
        ended = subprocess.run(cargo, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        return ended.returncode, ended.stderr

    assert check("") == (0, "")
    code, said = check("Py_GIL_DISABLED")
    assert code != 0
    assert "free-threaded ones, such as 3.14t, are not supported" in said


# The workflows


def steps(workflow: str) -> list[dict[str, Any]]:
    return [step for job in WORKFLOWS[workflow]["jobs"].values() for step in job.get("steps", [])]


@pytest.mark.parametrize(
    "command",
    [
        (
            "check-jsonschema",
            "--builtin-schema",
            "vendor.github-workflows",
            *(f".github/workflows/{name}" for name in WORKFLOWS),
        ),
        ("zizmor", "--offline", "--no-progress", "--quiet", ".github/workflows"),
        ("pre-commit", "validate-config", ".pre-commit-config.yaml"),
    ],
    ids=lambda command: command[0],
)
def test_workflows_and_hooks_are_well_formed_and_safe(command: tuple[str, ...]) -> None:
    ended = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_workflows_call_what_contributors_call() -> None:
    runs = {step.get("run") for step in steps("ci.yml")}
    assert {"bash .ci/run", "make wheel", "make sdist", "make smoke", "make deploy-test"} <= runs
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    commands = [hook["entry"] for hook in hooks]
    commands += [run for name in WORKFLOWS for step in steps(name) if (run := step.get("run", "")).startswith("make ")]
    in_ci = (ROOT / ".ci" / "run").read_text()
    assert {"make lint", "make types"} <= set(commands)
    assert all(hook["entry"].removeprefix("make ") in in_ci for hook in hooks)
    for command in commands:
        subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_a_release_has_every_wheel_and_tries_it() -> None:
    jobs = WORKFLOWS["release.yml"]["jobs"]
    built = {each["name"] for each in jobs["wheels"]["strategy"]["matrix"]["include"]}
    linux = {f"{libc}-{machine}" for libc in ("manylinux", "musllinux") for machine in ("x86_64", "aarch64")}
    assert built == linux | {"macos-x86_64", "macos-arm64"}
    tried = {each["name"] for job in ("smoke", "smoke-musl") for each in jobs[job]["strategy"]["matrix"]["include"]}
    assert tried == built
    assert set(jobs["publish"]["needs"]) == {"tests", "wheels", "sdist", "smoke", "smoke-musl"}
    assert jobs["tests"]["uses"] == "./.github/workflows/ci.yml"
    assert jobs["release"]["needs"] == "image"
    assert jobs["image"]["needs"] == ["tests", "publish"]
    assert CARGO["workspace"]["dependencies"]["pyo3"]["features"] == ["abi3-py310"]


RIGHTS = {
    "publish": {"id-token": "write", "attestations": "write"},
    "image": {"contents": "read", "packages": "write"},
    "release": {"contents": "write", "packages": "write"},
}


def test_only_publishing_has_rights() -> None:
    for name, workflow in WORKFLOWS.items():
        assert workflow["permissions"] == {}
        for job_name, job in workflow["jobs"].items():
            rights = RIGHTS.get(job_name, {}) if name == "release.yml" else {}
            assert job["permissions"] == (rights or {"contents": "read"})


def test_actions_are_named_by_their_commit() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for used in re.findall(r"uses: (\w.*)", path.read_text()):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used)


@pytest.mark.parametrize(
    ("tag", "said"),
    [("v1.2.0", "### Fixed\n\n- A fault.\n"), ("v1.1.0", "- The first.\n"), ("v1.2", None), ("v9.9.9", None)],
)
def test_the_notes_of_a_release(tag: str, said: str | None, tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "notes", tmp_path / ".ci")
    changelog = "# Changelog\n\n## [1.2.0] - 2026-12-01\n\n### Fixed\n\n- A fault.\n\n## 1.1.0\n\n- The first.\n"
    (tmp_path / "CHANGELOG.md").write_text(changelog)
    ended = subprocess.run([tmp_path / ".ci" / "notes", tag], capture_output=True, text=True, check=False)
    assert ended.returncode == (0 if said else 1)
    assert ended.stdout.strip("\n") == (said or "").strip("\n")
    uses = [step["uses"] for step in WORKFLOWS["release.yml"]["jobs"]["publish"]["steps"]]
    assert any(each.startswith("pypa/gh-action-pypi-publish@") for each in uses)
    assert any(each.startswith("actions/attest@") for each in uses)


@pytest.mark.parametrize(("tag", "code"), [(f"v{pixelcore.__version__}", 0), ("v9.9.9", 1), (pixelcore.__version__, 1)])
def test_a_tag_must_be_the_version(tag: str, code: int) -> None:
    script = WORKFLOWS["release.yml"]["jobs"]["version"]["steps"][1]["run"]
    environment = {**os.environ, "GITHUB_REF_NAME": tag}
    ended = subprocess.run(["bash", "-e", "-c", script], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert ended.returncode == code
