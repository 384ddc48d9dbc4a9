"""The hooks of mkdocs. They add what is outside of docs/: the project's own pages, the newest benchmark report, the icon.

Pages of the repository link to each other by paths, as GitHub has them. The hooks turn these links into those of the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
REPORT = "benches/REPORT.md"
# Pages outside of docs/, and their names on the site.
PAGES = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "VERSIONING.md": "versioning.md",
    "benches/README.md": "benchmarks.md",
    "deploy/README.md": "deploy.md",
}
SHOWN_ON = PAGES | {"README.md": "index.md", REPORT: "performance.md"}
ICON = ROOT / "python" / "pixelcore" / "inspect" / "static" / "icon.svg"
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"^!\[.*\n?", re.MULTILINE)
# Where performance.md shows parts of the report.
HEADLINE, PLOT, REST = "<!-- the headline -->", "<!-- its plot -->", "<!-- the newest report -->"


def relinked(text: str, source: str, page: str) -> str:
    """Links of a page of the repository, as the site has them. Files that are not on the site become their names.

    ``source`` is the page's path in the repository, ``page`` its path on the site.
    """

    def link(match: re.Match[str]) -> str:
        image, label, target, anchor = match.groups()
        path = posixpath.normpath(str(PurePosixPath(source).parent / target))
        place = SHOWN_ON.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
        if place is None:
            return match[0] if image else f"{label} (`{path}`)"
        return f"{image}[{label}]({posixpath.relpath(place, posixpath.dirname(page) or '.')}{anchor or ''})"

    parts = FENCED.split(text)
    return "".join(part if part.startswith("```") else LINK.sub(link, part) for part in parts)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside of docs/, and the plots of the report."""
    for source, name in PAGES.items():
        files.append(File.generated(config, name, content=relinked((ROOT / source).read_text(), source, name)))
    for plot in sorted((ROOT / "benches" / "plots").glob("*.svg")):
        files.append(File.generated(config, f"plots/{plot.name}", abs_src_path=str(plot)))
    files.append(File.generated(config, "pictures/icon.svg", abs_src_path=str(ICON)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn the links of a page of docs/, and put the newest report into performance.md."""
    name = page.file.src_uri
    if name in PAGES.values():
        return markdown
    markdown = relinked(markdown, f"docs/{name}", name)
    if name != "performance.md":
        return markdown
    report = relinked((ROOT / REPORT).read_text().partition("\n")[2], REPORT, name)
    headline, _made, report = report.strip().split("\n\n", 2)  # the page says itself how it is made
    plot = PICTURE.search(report)
    markdown = markdown.replace(HEADLINE, headline).replace(PLOT, plot[0] if plot else "")
    return markdown.replace(REST, PICTURE.sub("", report, count=1))
