"""What is known in memory grows with what is current and with recent history, and with nothing else."""

from pinnace.store import interface, state


def test_what_readers_computed_of_past_states_is_forgotten_and_of_present_ones_kept() -> None:
    known = state.State()
    stays = interface.Record("stays", b"{}", 2, 2, derived="computed")
    known.apply(interface.Event(2, "stays", stays, None, derived="seen"))
    history: list[interface.Event] = []
    previous = None
    for revision in range(3, state.RECENT_EVENTS + 103):
        record = interface.Record("changes", b"{}", 3, revision, derived="computed")
        history.append(interface.Event(revision, "changes", record, previous, derived="seen"))
        known.apply(history[-1])
        previous = record
    assert stays.derived == "computed"
    assert known.records["changes"].derived == "computed"
    kept = [event.revision for event in history if event.derived or (event.record and event.record.derived)]
    assert kept == [event.revision for event in history[-state.RECENT_EVENTS :]]
    assert known.history_after(2, 5) == history[:5]


def test_revisions_may_have_gaps() -> None:
    """As the log of a store has that others write too."""
    known = state.State(10)
    previous = None
    for revision in (12, 13, 20):
        record = interface.Record("a", str(revision).encode(), 12, revision)
        known.apply(interface.Event(revision, "a", record, previous))
        previous = record
    assert (known.oldest, known.revision) == (10, 20)
    assert [event.revision for event in known.history_after(10, 9)] == [12, 13, 20]
    assert [event.revision for event in known.history_after(15, 9)] == [20]
    assert known.history_after(20, 9) == []
    then = {revision: known.get("a", revision) for revision in (10, 11, 12, 13, 19, 20)}
    assert {revision: record.value if record else None for revision, record in then.items()} == {
        10: None,
        11: None,
        12: b"12",
        13: b"13",
        19: b"13",
        20: b"20",
    }
    assert [record.value for record in known.range("", "", 0, 15).records] == [b"13"]
    assert [event.revision for event in known.trim(15)] == [12, 13]
    assert (known.oldest, known.revision) == (15, 20)
    assert [event.revision for event in known.history_after(15, 9)] == [20]
