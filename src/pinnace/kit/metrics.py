"""The Prometheus text format (version 0.0.4): the one place where metrics become lines.

text = metrics.Text()
text.family("queue_length", "gauge", "Items waiting.", [({"queue": name}, 3)])
text.render()
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge"]
Labels = Mapping[str, str]
NO_LABELS: Labels = {}


class Text:
    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(
        self, name: str, kind: Kind, text: str, samples: Iterable[tuple[Labels, float]], *, stamp: int | None = None
    ) -> None:
        """All samples of a metric; without any nothing is said of it. `stamp`: when they were taken, in milliseconds since the epoch."""
        suffix = "" if stamp is None else f" {stamp}"
        lines = [f"{name}{_labels(labels)} {number(value)}{suffix}" for labels, value in samples]
        if lines:
            self._head(name, kind, text)
            self._lines += lines

    def histogram(
        self, name: str, text: str, bounds: Sequence[float], samples: Iterable[tuple[Labels, Sequence[int], float]]
    ) -> None:
        """(labels, how many fell into each bucket and, last, beyond all, the sum of all values)."""
        self._head(name, "histogram", text)
        for labels, counts, total in samples:
            seen = 0
            for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
                seen += count
                self._lines.append(f"{name}_bucket{_labels({**labels, 'le': bound})} {seen}")
            self._lines.append(f"{name}_sum{_labels(labels)} {total:.6f}")
            self._lines.append(f"{name}_count{_labels(labels)} {seen}")

    def render(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)

    def _head(self, name: str, kind: str, text: str) -> None:
        self._lines.append(f"# HELP {name} {_escape(text)}")
        self._lines.append(f"# TYPE {name} {kind}")


def number(value: float) -> str:
    """Whole ones without a point."""
    return str(int(value)) if value == int(value) else repr(value)


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in labels.items()) + "}"


def escape(value: str) -> str:
    """As a label's value: nothing in it ends the value or its line."""
    return _escape(value).replace('"', '\\"')


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
