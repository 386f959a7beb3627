"""Pages of a pod, a service or a node, seen through the API server's proxy: their links lead back through it.

A page at `/` of a pod links to `/style.css`; whoever reads it at `/api/v1/namespaces/ns/pods/p/proxy/` must ask for
`/api/v1/namespaces/ns/pods/p/proxy/style.css`. Answers with `Location` and pages of type `text/html` are changed so; all other answers
pass as they are. Pages are changed while they pass: never held as a whole.
"""

import codecs
import dataclasses
import html
import posixpath
import re
import urllib.parse
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from pinnace.web import messages

# Attributes that hold an address, by element (HTML 4.01 and later).
_ADDRESSES: dict[str, frozenset[str]] = {
    "a": frozenset({"href"}),
    "applet": frozenset({"codebase"}),
    "area": frozenset({"href"}),
    "audio": frozenset({"src"}),
    "base": frozenset({"href"}),
    "blockquote": frozenset({"cite"}),
    "body": frozenset({"background"}),
    "button": frozenset({"formaction"}),
    "command": frozenset({"icon"}),
    "del": frozenset({"cite"}),
    "embed": frozenset({"src"}),
    "form": frozenset({"action"}),
    "frame": frozenset({"longdesc", "src"}),
    "head": frozenset({"profile"}),
    "html": frozenset({"manifest"}),
    "iframe": frozenset({"longdesc", "src"}),
    "img": frozenset({"longdesc", "src", "usemap"}),
    "input": frozenset({"src", "usemap", "formaction"}),
    "ins": frozenset({"cite"}),
    "link": frozenset({"href"}),
    "object": frozenset({"classid", "codebase", "data", "usemap"}),
    "q": frozenset({"cite"}),
    "script": frozenset({"src"}),
    "source": frozenset({"src"}),
    "video": frozenset({"poster", "src"}),
}
# What is between their tags is text, whatever it looks like.
_RAW_TEXT = frozenset({"iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp"})
_TAG = re.compile(r"""<([A-Za-z][^\s/>]*)((?>[^<>"']|"[^"]*"|'[^']*')*+)>""")
# A name begins where no name goes on: what has no value after it is looked at once, not once for each of its characters.
_ATTRIBUTE = re.compile(r"""(?<![^\s"'>/=])([^\s"'>/=]++)(\s*=\s*)(?:"([^"]*)"|'([^']*)'|([^\s"'=<>`]+))""")
_LONGEST_TAG = 1 << 16
"""Characters. A `<` that has no end within as many begins no tag."""
_GZIP, _RAW_DEFLATE = 16 + zlib.MAX_WBITS, -zlib.MAX_WBITS
_WINDOWS = {"gzip": _GZIP, "deflate": _RAW_DEFLATE}


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """`prefix`: the proxy's own path, without the last slash. `hosts`: names by which the page may mean its own server."""

    prefix: str
    hosts: frozenset[str]


def rewrite(response: messages.Response, place: Place) -> messages.Response:
    """The answer as the proxy's client has to see it."""
    headers = {name.lower(): value for name, value in response.headers}
    if headers.get("location"):
        moved = [
            (name, address(value, place) if name.lower() == "location" else value) for name, value in response.headers
        ]
        return dataclasses.replace(response, headers=moved)
    encoding = headers.get("content-encoding", "").strip().lower()
    is_page = headers.get("content-type", "").partition(";")[0].strip().lower() == "text/html"
    if not is_page or isinstance(response.body, (bytes, Sequence)) or encoding not in ("", *_WINDOWS):
        return response
    return dataclasses.replace(response, body=_Page(response.body, place, encoding))


def address(text: str, place: Place) -> str:
    """One address of the page: changed where it is absolute and means the page's own server."""
    try:
        parts = urllib.parse.urlsplit(text)
    except ValueError:
        return text
    if (parts.netloc and parts.netloc not in place.hosts) or not parts.path.startswith("/"):
        return text
    path = parts.path
    if not path.startswith(place.prefix):
        path = posixpath.normpath(f"{place.prefix}/{path.lstrip('/')}") + ("/" if path.endswith("/") else "")
    return urllib.parse.urlunsplit(("", "", path, parts.query, parts.fragment))


class Html:
    """A page in pieces: `feed` them, then `end`; what comes back, joined, is the page with its links changed."""

    def __init__(self, change: Callable[[str], str]) -> None:
        self._change = change
        self._held = ""
        self._until = ""
        """Inside raw text or a comment: what ends it, in lower case."""

    def feed(self, text: str) -> str:
        self._held += text
        return "".join(self._ready())

    def end(self) -> str:
        rest, self._held = self._held, ""
        return rest

    def _ready(self) -> Iterator[str]:
        """What can be told for certain; what may yet become a tag stays held."""
        while self._held:
            piece = self._raw_text() if self._until else self._markup()
            if not piece:
                return
            yield piece

    def _raw_text(self) -> str:
        found = self._held.lower().find(self._until)
        if found < 0:
            return self._take(len(self._held) - len(self._until) + 1)
        self._until = ""
        return self._take(found + 1)

    def _markup(self) -> str:
        start = self._held.find("<")
        if start:
            return self._take(start if start > 0 else len(self._held))
        if self._held.startswith("<!--"):
            self._until = "-->"
            return self._take(4)
        if "<!--".startswith(self._held):
            return ""
        tag = _TAG.match(self._held)
        if tag is None:
            return self._no_tag()
        name = tag[1].lower()
        changed = self._changed(tag, _ADDRESSES.get(name, frozenset()))
        if name in _RAW_TEXT:
            self._until = f"</{name}"
        self._take(tag.end())
        return changed

    def _no_tag(self) -> str:
        """The held text begins with `<` and no tag is complete: it may become one, or it is text."""
        is_tag_so_far = len(self._held) == 1 or self._held[1].isalpha()
        if is_tag_so_far and len(self._held) < _LONGEST_TAG:
            return ""
        return self._take(1)

    def _changed(self, tag: re.Match[str], names: frozenset[str]) -> str:
        if not names:
            return tag[0]

        def attribute(found: re.Match[str]) -> str:
            if found[1].lower() not in names:
                return found[0]
            was = html.unescape(next(value for value in found.groups()[2:] if value is not None))
            now = self._change(was)
            return found[0] if now == was else f'{found[1]}{found[2]}"{html.escape(now)}"'

        return f"<{tag[1]}{_ATTRIBUTE.sub(attribute, tag[2])}>"

    def _take(self, count: int) -> str:
        count = max(count, 0)
        taken, self._held = self._held[:count], self._held[count:]
        return taken


class _Page:
    """The page on its way through; closing it closes what it is read from, also where nobody began to read."""

    def __init__(self, body: AsyncIterator[messages.Chunk], place: Place, encoding: str) -> None:
        self._body = body
        self._pieces = _changed(body, place, encoding)

    def __aiter__(self) -> "_Page":
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        close = getattr(self._body, "aclose", None)
        if close is not None:
            await close()


async def _changed(body: AsyncIterator[messages.Chunk], place: Place, encoding: str) -> AsyncIterator[bytes]:
    """Bytes that are no UTF-8 pass unchanged."""
    page = Html(lambda text: address(text, place))
    characters = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    unpack = zlib.decompressobj(_WINDOWS[encoding]) if encoding else None
    pack = zlib.compressobj(wbits=_WINDOWS[encoding]) if encoding else None

    def out(text: str) -> bytes:
        data = text.encode("utf-8", "surrogateescape")
        return pack.compress(data) if pack else data

    async for chunk in body:
        data = chunk if isinstance(chunk, bytes) else b"".join(chunk)
        for piece in _unpacked(unpack, data):
            if ready := out(page.feed(characters.decode(piece))):
                yield ready
    last = characters.decode(unpack.flush() if unpack else b"", True)
    yield out(page.feed(last) + page.end()) + (pack.flush() if pack else b"")


def _unpacked(unpack: "zlib._Decompress | None", data: bytes) -> Iterator[bytes]:
    """In pieces of bounded size, however well it was packed."""
    if unpack is None:
        yield data
        return
    while data:
        yield unpack.decompress(data, _LONGEST_TAG)
        data = unpack.unconsumed_tail
