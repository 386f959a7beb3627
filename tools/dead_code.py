"""Names that nothing uses: part of `make lint`. What others call (protocols, libraries, commands) is listed here, with who calls it.

Only functions, methods, classes, properties and imports: fields of dataclasses are the API's, and mostly written to be printed.
"""

import pathlib
import sys

import vulture

KINDS = frozenset(("function", "method", "class", "property", "import"))
ALLOWED = frozenset(
    (
        # asyncio's protocols
        *("connection_lost", "data_received", "datagram_received", "eof_received", "error_received"),
        *("pause_writing", "resume_writing"),
        # httptools' parsers
        *("on_body", "on_header", "on_headers_complete", "on_message_begin", "on_message_complete", "on_url"),
        # commands that click finds by their names
        *("build_base_command", "format_commands", "ls", "rm"),
        # hatchling's build hook
        *("CustomBuildHook", "initialize"),
        # tests, and whoever reads a queue's, a store's or a group's figures
        *("history_bytes", "limit_hits", "relay", "unschedulable_count"),
        # kept for what comes next: aggregation and webhooks, components of their own
        *("ByClusterIp", "from_kubeconfig"),
    )
)


def main() -> None:
    root = pathlib.Path(__file__).resolve().parent.parent
    found = vulture.Vulture()
    found.scavenge([str(root / "src"), str(root / "tools")])
    dead = [
        item
        for item in found.get_unused_code(min_confidence=60)
        if item.typ in KINDS and item.name not in ALLOWED and "testing" not in item.filename.parts
    ]
    for item in dead:
        print(f"{item.filename.relative_to(root)}:{item.first_lineno}: nothing uses the {item.typ} {item.name!r}")
    sys.exit(bool(dead))


if __name__ == "__main__":
    main()
