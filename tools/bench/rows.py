"""The rows: what is measured, what upstream reached, what is aimed at; and printing them as they come."""

import dataclasses
import sys


@dataclasses.dataclass(frozen=True)
class Row:
    key: str
    what: str
    reference: str
    target: str


ROWS = {
    row.key: row
    for row in (
        Row("P1", "durable pod creates, 32 clients, TLS, all running", "820-1,080/s, p99 74-116 ms", ">= 4 x"),
        Row("CPU-create", "the server's CPU for each", "4.6-4.8 ms", "<= 0.5 ms"),
        Row("P1b-patch", "merge patches, 16 clients", "410-690/s", ">= 5 x"),
        Row("CPU-patch", "the server's CPU for each", "7 ms", "<= 0.4 ms"),
        Row("P1b-delete", "deletes, 16 clients", "320-480/s", ">= 8 x"),
        Row("CPU-delete", "the server's CPU for each", "3.6-5 ms", "-"),
        Row("P2", "GET one pod, 16 clients, TLS", "1,860-2,120/s", ">= 8 x"),
        Row("CPU-get", "the server's CPU for each", "2.3 ms", "<= 0.06 ms"),
        Row("P3", "LIST 1,000 pods, 4 clients", "37/s", ">= 15 x"),
        Row("CPU-list", "the server's CPU for each", "-", "-"),
        Row("P3-label", "the same, filtered by label to 100", "190/s", ">= 15 x"),
        Row("P3-memory", "growth of the server's memory under these lists", "-", "<= 16 MiB"),
        Row("P4", "1,000 watchers told of 200 updates/s each", "-", ">= 100,000 events/s, p99 <= 50 ms"),
        Row("P5", "3,000 pods created and bound on 5,000 nodes, through the API", "13.2 s", "<= 2.0 s"),
        Row(
            "P6", "pod start with token, one at a time: create -> Running seen by a watch", "587 ms p50", "<= 30 ms p50"
        ),
        Row("P7-50", "50 pods at once, to the last Running", "9.1 s", "<= 0.6 s"),
        Row("P7-100", "100 pods at once, to the last Running", "-", "<= 1.3 s"),
        Row("P8", "memory (PSS) of everything, idle", "726 MB", "<= 100 MB"),
        Row("P8-pods", "memory per 1,000 pods stored", "~110 MB", "<= 9 MB"),
        Row("P9-ready", "`up`, everything installed -> API ready and node Ready", "2.6-3.6 s", "<= 0.5 s"),
        Row("P9-pod", "`up` -> first pod Running", "> 10 s", "<= 0.8 s"),
        Row("P10-full", "10,000 Services x 5 endpoints into the kernel", "58 s", "<= 1.5 s"),
        Row("P10", "one Service changes, with those loaded -> the kernel has it", "210 ms", "p99 <= 10 ms"),
        Row("P11", "cluster DNS: queries for Services per CPU-second", "~17,000", ">= 90,000"),
    )
}


class Report:
    def __init__(self, wanted: set[str], *, markdown: bool) -> None:
        self._wanted = wanted
        self._markdown = markdown
        self._lines: list[str] = []

    def wants(self, *keys: str) -> bool:
        return not self._wanted or any(key.split("-")[0] in self._wanted for key in keys)

    def machine(self, facts: dict[str, str]) -> None:
        for name, value in facts.items():
            print(f"{name + ':':34}{value}", flush=True)
        print()

    def add(self, key: str, measured: str) -> None:
        row = ROWS[key]
        self._lines.append(f"| {key} | {row.what} | {row.reference} | {row.target} | {measured} |")
        print(f"{key:12}{row.what:78}{measured:38} (upstream {row.reference}; target {row.target})", flush=True)

    def finish(self) -> None:
        if self._markdown:
            print("\n| # | what | upstream | target | measured |\n| --- | --- | --- | --- | --- |")
            sys.stdout.write("\n".join(self._lines) + "\n")
