"""`/livez`, `/readyz`, `/healthz`, `/version`, `/metrics`: whether this server works, and what it is."""

import platform
import re
from collections.abc import Callable, Mapping

from pinnace.api import errors
from pinnace.apiserver import context as contexts
from pinnace.apiserver.endpoints import metrics
from pinnace.apiserver.http import negotiate, respond
from pinnace.kit import metrics as text_format
from pinnace.web import messages

Check = Callable[[], str]
""""" when it is well, else what is wrong."""


class Health:
    def __init__(self, live: Mapping[str, Check], ready: Mapping[str, Check], components: Mapping[str, Check]) -> None:
        """`components`: those that come to run in this process; they are looked at with the live checks."""
        self._live = dict(live)
        self._ready = dict(ready)
        self._components = components

    async def livez(self, context: contexts.Context) -> messages.Answer:
        return _answer(context, "livez", {**self._live, **self._components})

    async def readyz(self, context: contexts.Context) -> messages.Answer:
        return _answer(context, "readyz", {**self._live, **self._components, **self._ready})

    async def healthz(self, context: contexts.Context) -> messages.Answer:
        return _answer(context, "healthz", {**self._live, **self._components})

    @property
    def is_ready(self) -> bool:
        return all(not check() for check in (*self._live.values(), *self._ready.values()))


def _answer(context: contexts.Context, name: str, checks: Mapping[str, Check]) -> messages.Answer:
    """All checks, or the one that the path names; `?exclude=` leaves some out, `?verbose` tells of each."""
    single = context.request.path.partition(f"/{name}/")[2].strip("/")
    if single:
        if single not in checks:
            raise errors.StatusError(404, "NotFound", "the server could not find the requested resource")
        wrong = checks[single]()
        return respond.text("ok" if not wrong else f"internal server error: {wrong}\n", 500 if wrong else 200)
    excluded = set(context.query.all("exclude"))
    results = {check: "" if check in excluded else run() for check, run in checks.items()}
    failed = [check for check, wrong in results.items() if wrong]
    lines = [_line(check, wrong, check in excluded) for check, wrong in results.items()]
    if failed:
        return respond.text("\n".join([*lines, f"{name} check failed", ""]), 500)
    if "verbose" in context.query.values:
        return respond.text("\n".join([*lines, f"{name} check passed", ""]))
    return respond.text("ok")


def _line(check: str, wrong: str, is_excluded: bool) -> str:
    if is_excluded:
        return f"[+]{check} excluded: ok"
    return f"[-]{check} failed: reason withheld" if wrong else f"[+]{check} ok"


async def version(context: contexts.Context) -> messages.Answer:
    git_version = context.services.settings.git_version
    numbers = re.match(r"v(\d+)\.(\d+)", git_version)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    body = {
        "major": numbers[1] if numbers else "",
        "minor": numbers[2] if numbers else "",
        "gitVersion": git_version,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation(),
        "platform": f"linux/{machine}",
    }
    return respond.value(body, negotiate.document_form(context.accept))


class Exposition:
    def __init__(self, counters: metrics.Metrics) -> None:
        self._counters = counters

    async def metrics(self, _: contexts.Context) -> messages.Answer:
        headers = (("Content-Type", text_format.CONTENT_TYPE), ("Cache-Control", "no-cache, private"))
        return messages.Response(200, headers, self._counters.expose())
