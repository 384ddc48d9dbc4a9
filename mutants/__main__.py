"""``python -m mutants``: draws wrong changes by seed, tries them, and names those that no test notices."""

from __future__ import annotations

import argparse
import subprocess
import sys

from mutants import python, rust


def changed_since(base: str) -> list[str]:
    """The files that differ from a commit, as the repository names them."""
    listed = subprocess.run(
        ["git", "diff", "--name-only", base], cwd=python.ROOT, capture_output=True, text=True, check=True
    )
    return listed.stdout.splitlines()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    parser.add_argument("language", choices=["python", "rust"])
    parser.add_argument(
        "files", nargs="*", help="of the package, such as 'shipping/*', or of the core; all unless named"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, help="of each Python module (3), or of the Rust core in all (40)")
    parser.add_argument("--changed-since", metavar="COMMIT", help="only files that differ from it")
    parser.add_argument("--alone", action="store_true", help="what Rust's tests miss is not tried with those of Python")
    parser.add_argument("--equivalents", action="store_true", help="try only what equivalent.toml says no test can see")
    chosen = parser.parse_args()
    root = "python/pixelcore/" if chosen.language == "python" else "rust/core/src/"
    files: list[str] = chosen.files
    if chosen.changed_since is not None:
        files = [name.removeprefix(root) for name in changed_since(chosen.changed_since) if name.startswith(root)]
        if not files:
            print("nothing has changed")
            return 0
    if chosen.language == "python":
        noticed = python.run(files or ["*"], chosen.seed, chosen.count or 3, only_equivalents=chosen.equivalents)
    else:
        how = {"with_python": not chosen.alone, "only_equivalents": chosen.equivalents}
        noticed = rust.run(files, chosen.seed, chosen.count or 40, **how)
    return 0 if noticed else 1


sys.exit(main())
