"""Counters of the server and their exposition in the Prometheus text format.

Labels are words of installed routes, never of requests: what nothing serves is one series, and there is a bound on all of them, because
custom kinds come and go.
"""

from collections.abc import Callable

from pinnace.kit import metrics

_BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)

MOST_SERIES = 10_000
OTHER = "other"

Labels = tuple[str, str, str, str, int]
"""(verb, group, resource, subresource, code)."""


class Metrics:
    def __init__(self) -> None:
        self._requests: dict[Labels, int] = {}
        self._durations: dict[tuple[str, str, str], list[float]] = {}
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def gauge(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        self._gauges[name] = (help_text, read)

    def observe(self, verb: str, group: str, resource: str, subresource: str, code: int, seconds: float) -> None:
        key = (verb, group, resource, subresource, code)
        if key not in self._requests and len(self._requests) >= MOST_SERIES:
            verb, group, resource = OTHER, "", OTHER
            key = (verb, group, resource, "", code)
        self._requests[key] = self._requests.get(key, 0) + 1
        counts = self._durations.get((verb, group, resource))
        if counts is None:
            # One place for each bucket, then those beyond the last, then the sum.
            counts = self._durations[verb, group, resource] = [0.0] * (len(_BUCKETS) + 2)
        counts[_bucket(seconds)] += 1
        counts[-1] += seconds

    def observe_other(self, code: int, seconds: float) -> None:
        """A request that no installed route has answered."""
        self.observe(OTHER, "", OTHER, "", code, seconds)

    def expose(self) -> bytes:
        text = metrics.Text()
        text.family(
            "apiserver_request_total",
            "counter",
            "Requests by verb, group, resource, subresource and HTTP response code.",
            (
                (
                    {
                        "code": str(code),
                        "group": group,
                        "resource": resource,
                        "subresource": part,
                        "verb": verb.upper(),
                    },
                    count,
                )
                for (verb, group, resource, part, code), count in sorted(self._requests.items())
            ),
        )
        text.histogram(
            "apiserver_request_duration_seconds",
            "Response latency by verb, group and resource.",
            _BUCKETS,
            (
                ({"group": group, "resource": resource, "verb": verb.upper()}, list(map(int, counts[:-1])), counts[-1])
                for (verb, group, resource), counts in sorted(self._durations.items())
            ),
        )
        for name, (help_text, read) in sorted(self._gauges.items()):
            text.family(name, "gauge", help_text, [(metrics.NO_LABELS, read())])
        return text.render().encode()


def _bucket(seconds: float) -> int:
    for position, limit in enumerate(_BUCKETS):
        if seconds <= limit:
            return position
    return len(_BUCKETS)
