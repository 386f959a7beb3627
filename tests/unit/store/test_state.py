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
