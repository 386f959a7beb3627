"""What the bookmarks of a watch show."""

from typing import Any

from pinnace.api import kinds, omitempty

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


def bookmark_object(kind: kinds.Kind, revision: int, *, ends_initial: bool = False) -> Any:
    metadata: dict[str, object] = {"resourceVersion": str(revision)}
    if ends_initial:
        metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
    made = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
    omitempty.complete(kind.schema.name, made)
    return made
