"""The API's description as a page to read."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from saga.api.manual import page
from saga.api.openapi import document
from tests.served import Served, answering


class Reader(HTMLParser):
    """Keeps ids, links, and what a page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag names."""
        named = dict(attrs)
        self.ids += [named["id"] or ""] if "id" in named else []
        self.links += [named["href"] or ""] if tag == "a" else []
        self.loaded += [tag] if tag in {"script", "link", "img", "iframe"} or "src" in named else []


async def test_the_page_tells_every_operation_and_loads_nothing() -> None:
    """It is read where there is no network, under a policy that allows its own style sheet alone."""
    async with Served(answering()) as served:
        answer = await served.get("/docs")
    shown = Reader(answer.text)

    names = [each["operationId"] for methods in document()["paths"].values() for each in methods.values()]
    assert [name for name in names if name not in shown.ids] == []
    assert shown.loaded == []
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Content-Type"].startswith("text/html")


def test_every_link_of_the_page_leads_somewhere() -> None:
    """Within the page, or to the document itself; and no id is there twice."""
    shown = Reader(page(document()))

    inside = {link[1:] for link in shown.links if link.startswith("#")}
    assert inside <= set(shown.ids)
    assert {link for link in shown.links if not link.startswith("#")} == {"/openapi.json"}
    assert len(shown.ids) == len(set(shown.ids))


def test_what_the_document_says_is_text_and_never_markup() -> None:
    """Names of definitions come from people."""
    made = document()
    made["info"]["title"] = "<script>alert(1)</script>"

    assert re.search("<script", page(made)) is None
