"""What mkdocs adds to docs/: the project's own pages from where they are, and the newest benchmark report with its plots."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
REPORT = "benches/REPORT.md"
# What of the repository is a page of the site, and how that is named.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "DESIGN.md": "design.md",
    "SECURITY.md": "security.md",
    "VERSIONING.md": "versioning.md",
    "benches/README.md": "benchmarks.md",
    "deploy/README.md": "deploy.md",
}
SHOWN_ON = PAGES | {"README.md": "index.md", REPORT: "performance.md"}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def relinked(text: str, source: str) -> str:
    """The links of a page of the repository as the site has them; the name alone of a file that is no page of it."""

    def link(match: re.Match[str]) -> str:
        image, label, target, anchor = match.groups()
        path = posixpath.normpath(str(PurePosixPath(source).parent / target))
        place = SHOWN_ON.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
        if image:
            return f"![{label}]({target})"
        return f"[{label}]({place}{anchor or ''})" if place else f"{label} (`{path}`)"

    return LINK.sub(link, text)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are outside of docs/, and the plots of the report."""
    for source, name in PAGES.items():
        files.append(File.generated(config, name, content=relinked((ROOT / source).read_text(), source)))
    for plot in sorted((ROOT / "benches" / "plots").glob("*.svg")):
        files.append(File.generated(config, f"plots/{plot.name}", abs_src_path=str(plot)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Put the newest report, all but its title, where performance.md wants it."""
    if page.file.src_uri != "performance.md":
        return markdown
    report = relinked((ROOT / REPORT).read_text().partition("\n")[2], REPORT)
    return markdown.replace("<!-- the newest report -->", report)
