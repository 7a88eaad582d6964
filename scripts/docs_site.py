"""The documentation as a site: ``python scripts/docs_site.py [FOLDER]`` (``make docs``) builds it, by Zensical, into dist/site.

The pages are those of docs/, as they are read on a code host. What lies beside docs/ and is linked from there is copied: a page
becomes a page, a file a file, a folder a page that lists its files. So the site needs nothing outside of itself. The navigation
is the table of docs/index.md. llms.txt names each page; each page is there as Markdown, too. A link that leads nowhere ends the
build with status 1.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
BESIDE = {
    ROOT / "CHANGELOG.md": "changelog.md",
    ROOT / "CONTRIBUTING.md": "contributing.md",
    ROOT / "SECURITY.md": "security-policy.md",
    ROOT / "examples" / "README.md": "examples.md",
}
"""Pages outside of docs/, with their names in the site."""
SUMMARY = (
    "Durable background runs of AI agents (Google ADK) on Kubernetes, with nothing but Postgres underneath."
)
LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]+)?\))")
CODE = re.compile(r"(```.*?^```|`[^`\n]+`)", re.DOTALL | re.MULTILINE)


class Site:
    """The pages, as they are laid out for Zensical in one folder."""

    def __init__(self, folder: Path) -> None:
        self.pages = folder

    def lay_out(self) -> None:
        """Writes the pages and what they link to."""
        shutil.copytree(DOCS, self.pages)
        for page in self.pages.glob("*.md"):
            page.write_text(self._linked(page.read_text(), DOCS))
        for page, name in BESIDE.items():
            (self.pages / name).write_text(self._linked(page.read_text(), page.parent))

    def _linked(self, text: str, folder: Path) -> str:
        """A page's text with its links as they are in the site. Code is left alone."""
        parts = CODE.split(text)
        parts[::2] = [
            LINK.sub(lambda link: link[1] + self._target(link[2], folder) + link[3], part)
            for part in parts[::2]
        ]
        return "".join(parts)

    def _target(self, target: str, folder: Path) -> str:
        path = (folder / target).resolve()
        if "://" in target or target.startswith("mailto:") or not path.is_relative_to(ROOT):
            return target
        if path.is_relative_to(DOCS):
            return path.relative_to(DOCS).as_posix()
        if path in BESIDE:
            return BESIDE[path]
        if path.is_dir():
            return self._listing(path)
        if path.is_file():
            return self._copied(path)
        return target  # Zensical says that it is not there

    def _copied(self, path: Path) -> str:
        copy = self.pages / "source" / path.relative_to(ROOT)
        # .txt: a browser shows it, and Zensical takes no .md among them for a page; it leaves out files that begin with a dot
        copy = copy.with_name(f"{copy.name.lstrip('.')}.txt")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        return copy.relative_to(self.pages).as_posix()

    def _listing(self, folder: Path) -> str:
        name = folder.relative_to(ROOT).as_posix()
        files = sorted(
            path
            for path in folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
        )
        page = self.pages / "source" / f"{name.replace('/', '-')}.md"
        page.parent.mkdir(parents=True, exist_ok=True)
        rows = [
            f"- [{path.relative_to(folder)}]({self._copied(path).removeprefix('source/')})" for path in files
        ]
        page.write_text("\n".join([f"# {name}/", "", *rows, ""]))
        return page.relative_to(self.pages).as_posix()


def sections(index: str) -> dict[str, list[str]]:
    """Pages by section, from the table "You are | You want to | Read". A page stands in the section that names it first."""
    found: dict[str, list[str]] = {}
    section, seen = "", {"index.md"}
    for line in index.partition("| You are |")[2].partition("\n\n")[0].splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        section = cells[0] or section
        for page in re.findall(r"\]\(([\w-]+\.md)\)", cells[-1]):
            if page not in seen:
                seen.add(page)
                found.setdefault(section, []).append(page)
    return found


def title(page: str) -> str:
    """The first heading of a page."""
    match = re.search(r"^# (.+)$", page, re.MULTILINE)
    return match[1] if match else "agentjobs"


def llms(pages: Path, by_section: dict[str, list[str]]) -> str:
    """llms.txt: what the project is, and each page with its address (https://llmstxt.org)."""
    lines = [
        "# agentjobs",
        "",
        f"> {SUMMARY}",
        "",
        f"- [{title((pages / 'index.md').read_text())}](index.md)",
    ]
    for section, names in by_section.items():
        lines += ["", f"## {section[0].upper()}{section[1:]}", ""]
        lines += [f"- [{title((pages / name).read_text())}]({name})" for name in names]
    return "\n".join([*lines, ""])


def build(target: Path, work: Path) -> None:
    """Builds the site into ``target``; ``work`` is an empty folder for what is in between.

    :raises subprocess.CalledProcessError: Zensical refuses a page; it has said why.
    """
    pages = work / "pages"
    Site(pages).lay_out()
    by_section = sections((pages / "index.md").read_text())
    by_section["beside the documentation"] = list(BESIDE.values())
    nav: list[object] = [{"Documentation": "index.md"}]
    nav += [{section[0].upper() + section[1:]: names} for section, names in by_section.items()]
    config = {
        "site_name": "agentjobs",
        "site_description": SUMMARY,
        "docs_dir": "pages",
        "site_dir": "site",
        "use_directory_urls": False,
        "theme": {
            "name": "material",
            "font": False,
            "features": ["content.code.copy", "navigation.sections"],
        },
        "nav": nav,
    }
    (work / "mkdocs.yml").write_text(yaml.safe_dump(config, sort_keys=False))
    zensical = Path(sys.executable).with_name("zensical")
    subprocess.run([zensical, "build", "--strict"], cwd=work, check=True)
    (work / "site" / "llms.txt").write_text(llms(pages, by_section))
    for page in pages.glob("*.md"):
        shutil.copyfile(page, work / "site" / page.name)
    if target.exists():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(work / "site", target)


def main() -> None:
    """Builds into the folder that the command line names."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist" / "site").absolute()
    work = ROOT / ".cache" / "docs"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        build(target, work)
    except subprocess.CalledProcessError as error:
        sys.exit(
            f"docs: Zensical ended with status {error.returncode}; the warnings above name page and line"
        )
    print(json.dumps({"site": str(target), "pages": len(list(target.glob("*.md")))}))


if __name__ == "__main__":
    main()
