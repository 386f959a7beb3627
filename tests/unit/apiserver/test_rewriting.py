"""Links of pages that are seen through the API server's proxy."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import hypothesis
import hypothesis.strategies as st
import pytest

from pinnace.apiserver.subresources import rewriting
from pinnace.web import messages

PREFIX = "/api/v1/namespaces/ns/pods/p:80/proxy"
PLACE = rewriting.Place(PREFIX, frozenset({"192.0.2.1:80", "api.example:6443"}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/style.css", f"{PREFIX}/style.css"),
        ("/", f"{PREFIX}/"),
        ("/a/b/?q=1&r=/x#top", f"{PREFIX}/a/b/?q=1&r=/x#top"),
        ("/a/../b", f"{PREFIX}/b"),
        (f"{PREFIX}/there", f"{PREFIX}/there"),
        ("http://192.0.2.1:80/x", f"{PREFIX}/x"),
        ("https://api.example:6443/x", f"{PREFIX}/x"),
        ("//192.0.2.1:80/x", f"{PREFIX}/x"),
        ("relative/x", "relative/x"),
        ("?q=1", "?q=1"),
        ("#top", "#top"),
        ("http://elsewhere.example/x", "http://elsewhere.example/x"),
        ("mailto:someone@example.com", "mailto:someone@example.com"),
        ("http://[broken/", "http://[broken/"),
    ],
)
def test_absolute_addresses_of_the_pages_own_server_lead_through_the_proxy(text: str, expected: str) -> None:
    assert rewriting.address(text, PLACE) == expected


PAGES = [
    ('<a href="/x">t</a>', f'<a href="{PREFIX}/x">t</a>'),
    ("<A HREF='/x' class=y>t</A>", f'<A HREF="{PREFIX}/x" class=y>t</A>'),
    ("<img src=/a.png alt=/a.png />", f'<img src="{PREFIX}/a.png" alt=/a.png />'),
    ('<a href="/x?a=1&amp;b=2">', f'<a href="{PREFIX}/x?a=1&amp;b=2">'),
    ('<p title="/x" href="/x">/x <b>/y</b></p>', '<p title="/x" href="/x">/x <b>/y</b></p>'),
    ('<!-- <a href="/x"> --><a href="/x">', f'<!-- <a href="/x"> --><a href="{PREFIX}/x">'),
    (
        """<script src="/s.js">w('<a href="/x">')</SCRIPT><a href="/x">""",
        f"""<script src="{PREFIX}/s.js">w('<a href="/x">')</SCRIPT><a href="{PREFIX}/x">""",
    ),
    ('1 < 2 <a href="/x">', f'1 < 2 <a href="{PREFIX}/x">'),
    ('<a title=">" href="/x">', f'<a title=">" href="{PREFIX}/x">'),
    ('<form action="/f"><input src="/i"><a href="http://else/x">', f'<form action="{PREFIX}/f"><input src="{PREFIX}/i"><a href="http://else/x">'),
    ('<a href="/x"', '<a href="/x"'),
    ("<!DOCTYPE html><br/>\u00e4", "<!DOCTYPE html><br/>\u00e4"),
]  # fmt: skip


def pieces(page: str, size: int) -> str:
    html = rewriting.Html(lambda text: rewriting.address(text, PLACE))
    return "".join(html.feed(page[start : start + size]) for start in range(0, len(page), size)) + html.end()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("page", "expected"), PAGES)
def test_links_are_changed_however_the_page_arrives(page: str, expected: str, size: int) -> None:
    assert pieces(page, size) == expected


@hypothesis.given(st.text(alphabet="<>!-/\"'= aAscriptx"), st.integers(1, 20))
def test_what_holds_no_link_passes_as_it_is(page: str, size: int) -> None:
    html = rewriting.Html(lambda text: text)
    parts = [html.feed(page[start : start + size]) for start in range(0, len(page), size)]
    assert "".join(parts) + html.end() == page


def test_a_tag_without_end_is_not_held_for_ever() -> None:
    html = rewriting.Html(lambda text: text)
    assert len(html.feed("<a " + "x" * 200_000)) > 100_000


async def streamed(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def body_of(response: messages.Response) -> bytes:
    async def read() -> bytes:
        assert not isinstance(response.body, (bytes, list, tuple))
        return b"".join([chunk async for chunk in response.body])  # type: ignore[union-attr, misc]

    return asyncio.run(read())


@pytest.mark.parametrize("size", [1, 10, 10_000])
def test_packed_pages_are_unpacked_changed_and_packed_again(size: int) -> None:
    packed = gzip.compress('<a href="/x">\u00e4</a>'.encode() + b"\xff" + b" " * 100_000)
    chunks = [packed[start : start + size] for start in range(0, len(packed), size)]
    headers = [("Content-Type", "text/html"), ("Content-Encoding", "gzip")]
    changed = rewriting.rewrite(messages.Response(200, headers, streamed(*chunks)), PLACE)
    expected = f'<a href="{PREFIX}/x">\u00e4</a>'.encode() + b"\xff" + b" " * 100_000
    assert gzip.decompress(body_of(changed)) == expected


@pytest.mark.parametrize(
    "headers",
    [[("Content-Type", "text/plain")], [], [("Content-Type", "text/html"), ("Content-Encoding", "br")]],
)
def test_what_is_no_page_that_can_be_read_passes_as_it_is(headers: list[tuple[str, str]]) -> None:
    changed = rewriting.rewrite(messages.Response(200, headers, streamed(b'<a href="/x">')), PLACE)
    assert body_of(changed) == b'<a href="/x">'
