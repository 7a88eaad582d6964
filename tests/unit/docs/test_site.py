"""The site that ``make docs`` builds: every link of it leads somewhere, and it loads nothing from elsewhere."""

from __future__ import annotations

import json
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import docs_site
import pytest

ROOT = Path(__file__).parents[3]
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src"}


class Page(HTMLParser):
    """What a page of the site links to, loads and can be linked at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if (anchor := given.get("id") or given.get("name")) is not None:
            self.anchors.add(anchor)
        if tag == "a" and (target := given.get("href")) is not None:
            self.links.append(target)
        if (
            tag in LOADED
            and (target := given.get(LOADED[tag])) is not None
            and given.get("rel") != "canonical"
        ):
            self.loaded.append(target)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    work = folder / "work"
    work.mkdir()
    docs_site.build(folder / "site", work)
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    return {path.relative_to(site).as_posix(): Page(path.read_text()) for path in site.rglob("*.html")}


def test_every_link_of_the_site_leads_to_a_page_a_file_or_a_heading(
    site: Path, pages: dict[str, Page]
) -> None:
    dead = []
    for name, page in pages.items():
        if name == "404.html":
            continue  # its addresses are those of the server's root
        for link in page.links:
            to = urlsplit(link)
            if to.scheme or to.netloc:
                continue
            target = (site / name).parent.joinpath(unquote(to.path)).resolve() if to.path else site / name
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                dead.append(f"{name}: {link}")
            elif to.fragment and target.suffix == ".html":
                other = pages[target.relative_to(site.resolve()).as_posix()]
                if unquote(to.fragment) not in other.anchors | {"__top"}:
                    dead.append(f"{name}: {link} (no such heading)")
    assert dead == []


def test_the_site_loads_nothing_from_another_host(pages: dict[str, Page]) -> None:
    assert {target for page in pages.values() for target in page.loaded if urlsplit(target).netloc} == set()


def test_each_page_of_docs_is_in_the_navigation_in_llms_txt_and_there_as_markdown(site: Path) -> None:
    listed = (site / "llms.txt").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f"]({page.name})" in listed, f"docs/index.md names {page.name} in no row of its table"
        assert (site / page.name).exists()
        assert (site / f"{page.stem}.html").exists()


def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text(
        "# Index\n\n| You are | You want to | Read |\n|---|---|---|\n| a | b | [x](x.md) |\n\n"
    )
    monkeypatch.setattr(docs_site, "DOCS", docs)
    monkeypatch.setattr(docs_site, "BESIDE", {})
    (work := tmp_path / "work").mkdir()
    with pytest.raises(subprocess.CalledProcessError):
        docs_site.build(tmp_path / "site", work)


def test_the_search_index_has_the_pages(site: Path) -> None:
    assert "agentjobs" in json.dumps(json.loads((site / "search.json").read_text()))
