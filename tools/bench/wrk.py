"""Runs wrk and reads what it prints."""

import dataclasses
import pathlib
import re
import subprocess

SCRIPTS = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Result:
    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int
    requests: int

    def __str__(self) -> str:
        shown = f"{self.per_second:,.0f}/s, p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms"
        return f"{shown}, {self.errors} ERRORS" if self.errors else shown


def run(
    url: str, token: str, *, clients: int, seconds: int, script: str = "", arguments: tuple[str, ...] = ()
) -> Result:
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", "-H", f"Authorization: Bearer {token}"]
    if script:
        command += ["-s", str(SCRIPTS / script)]
    command += [url, "--", *arguments]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    socket = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", printed)
    errors = (int(bad[1]) if bad else 0) + (sum(map(int, socket.groups())) if socket else 0)
    per_second = float(_find(r"Requests/sec:\s+([\d.]+)", printed))
    requests = int(_find(r"(\d+) requests in", printed))
    return Result(per_second, _ms("50%", printed), _ms("99%", printed), errors, requests)


def _ms(percentile: str, printed: str) -> float:
    value, unit = re.findall(rf"^\s+{percentile}\s+([\d.]+)(us|ms|s)", printed, re.MULTILINE)[0]
    return float(value) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def _find(pattern: str, printed: str) -> str:
    found = re.search(pattern, printed)
    if found is None:
        raise ValueError(f"wrk printed no {pattern}:\n{printed}")
    return found[1]
