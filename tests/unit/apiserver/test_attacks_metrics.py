"""Strangers write nothing into the exposition, and what it holds is bounded."""

import re

from pinnace.apiserver.endpoints import metrics
from pinnace.kit import metrics as text_format
from pinnace.testing import api_server

# A line of the text format: a comment, or a name with labels whose values are escaped, and a number.
LINE = re.compile(r'# (HELP|TYPE) .*|[a-zA-Z_:][\w:]*(\{([a-z]+="([^"\\\n]|\\["\\n])*",?)*\})? [0-9.e+-]+', re.ASCII)
PATHS = (
    "/apis/x/v1/r{}",
    "/apis/r{}/v1/x",
    "/api/v1/r{}",
    "/api/v1/namespaces/default/r{}",
    "/api/v1/namespaces/default/pods/p/r{}",
    "/apis/apps/v1/r{}/x",
    "/r{}",
    "/api/v1/watch/r{}",
    "/apis/apps/v1/watch/namespaces/default/deployments/d/r{}",
)


async def exposition(api: api_server.Api) -> list[str]:
    return (await api.call("GET", "/metrics")).body.decode().splitlines()


def test_words_of_requests_make_no_series() -> None:
    async def scenario(api: api_server.Api) -> None:
        for path in PATHS:
            for who in (None, api_server.ADMIN):
                await api.call("GET", path.format("0"), who=who)
        await exposition(api)
        before = await exposition(api)
        for number in range(1, 40):
            for path in PATHS:
                for who in (None, api_server.ADMIN):
                    await api.call("GET", path.format(f"{number}" + 1000 * "a"), who=who)
        after = await exposition(api)
        assert len(after) == len(before)
        assert not any("aaa" in line for line in after)
        assert any('resource="other"' in line for line in after)

    api_server.run(scenario)


def test_no_path_writes_a_line_of_its_own() -> None:
    async def scenario(api: api_server.Api) -> None:
        evil = 'x"} 1\nforged_total{a="b'
        for path in (f"/apis/{evil}/v1/{evil}", f"/{evil}", f"/api/v1/pods/{evil}", f"/api/v1/namespaces/{evil}/pods"):
            for method in ("GET", "POST", 'X"}\nforged 1\n'):
                await api.call(method, path, {}, who=None)
        lines = await exposition(api)
        assert all(LINE.fullmatch(line) for line in lines), [line for line in lines if not LINE.fullmatch(line)]
        assert not any(line.startswith("forged") for line in lines)

    api_server.run(scenario)


def test_even_installed_words_are_bounded_and_escaped() -> None:
    counters = metrics.Metrics()
    for number in range(metrics.MOST_SERIES + 500):
        counters.observe("get", "g", f"r{number}", "", 200, 0.1)
    counters.observe("get", 'a"b\\c\nd', "r0", "", 200, 0.1)
    lines = counters.expose().decode().splitlines()
    assert sum(line.startswith("apiserver_request_total{") for line in lines) == metrics.MOST_SERIES + 1
    assert 'apiserver_request_total{code="200",group="",resource="other",subresource="",verb="OTHER"} 501' in lines
    assert text_format.escape('a"b\\c\nd') == 'a\\"b\\\\c\\nd'
