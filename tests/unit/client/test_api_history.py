"""The checker of fault campaigns finds each kind of broken promise, and nothing where all were kept."""

import dataclasses
from collections.abc import Callable

import pytest

from pinnace.testing import api_history
from pinnace.testing.api_history import GONE, Seen, Segment, Write


def honest() -> api_history.History:
    """a: created (5), replaced without an answer (6), deleted (8). b: created (7)."""
    history = api_history.History()
    history.writes = [
        Write("a", 1, 0, 2, True, 5),
        Write("a", 2, 3, 4, False, 0),
        Write("b", 1, 1, 5, True, 7),
        Write("a", GONE, 6, 8, True, 0),
    ]
    events = [
        Seen("ADDED", "a", 5, 1),
        Seen("MODIFIED", "a", 6, 2),
        Seen("ADDED", "b", 7, 1),
        Seen("DELETED", "a", 8, GONE),
    ]
    history.segments = [Segment(4, 8, list(events)), Segment(6, 8, list(events[2:]))]
    history.final, history.final_revision = {"b": 1}, 8
    return history


def lost_write(history: api_history.History) -> None:
    history.final = {}


def undone_delete(history: api_history.History) -> None:
    history.final = {"a": 2, "b": 1}


def name_from_nowhere(history: api_history.History) -> None:
    history.final = {"b": 1, "c": 1}


def listed_twice(history: api_history.History) -> None:
    history.listed_twice = frozenset({"b"})


def revision_given_twice(history: api_history.History) -> None:
    history.writes.append(Write("c", 1, 9, 10, True, 7))
    history.final = {"b": 1, "c": 1}


def revision_that_went_back(history: api_history.History) -> None:
    history.writes[2] = dataclasses.replace(history.writes[2], begun=3, revision=4)


def list_from_the_past(history: api_history.History) -> None:
    history.final_revision = 6


def gap(history: api_history.History) -> None:
    del history.segments[0].events[2]


def gap_for_all(history: api_history.History) -> None:
    del history.segments[0].events[2]
    del history.segments[1].events[0]


def duplicate(history: api_history.History) -> None:
    history.segments[0].events.insert(1, history.segments[0].events[0])


def disorder(history: api_history.History) -> None:
    history.segments[0].events[:2] = reversed(history.segments[0].events[:2])


def disagreement(history: api_history.History) -> None:
    history.segments[1].events[0] = Seen("ADDED", "b", 7, 9)


def event_from_before(history: api_history.History) -> None:
    history.segments[1].events.insert(0, Seen("MODIFIED", "a", 6, 2))


def test_kept_promises_pass() -> None:
    assert api_history.find_violations(honest()) == []


@pytest.mark.parametrize(
    "plant",
    [
        lost_write,
        undone_delete,
        name_from_nowhere,
        listed_twice,
        revision_given_twice,
        revision_that_went_back,
        list_from_the_past,
        gap,
        gap_for_all,
        duplicate,
        disorder,
        disagreement,
        event_from_before,
    ],
)
def test_a_planted_fault_is_found(plant: Callable[[api_history.History], None]) -> None:
    history = honest()
    plant(history)
    assert api_history.find_violations(history)
