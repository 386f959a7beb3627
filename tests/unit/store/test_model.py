"""Any sequence of calls leaves the state, its past and its watches as a model of a few lines says."""

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import stateful
from hypothesis import strategies as st

from pinnace.store import interface, keys, state

KEYS = st.sampled_from(["/a", "/a/b", "/a/c", "/ab", "/b", "/b/\u00e9", "/b/\U0001f600"])
PREFIXES = st.sampled_from(["", "/", "/a", "/a/", "/b/", "/c"])
CONTENT = st.binary(max_size=20)


class StateMachine(stateful.RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.state = state.State()
        self.model: dict[int, dict[str, bytes]] = {self.state.revision: {}}

    @property
    def now(self) -> dict[str, bytes]:
        return self.model[self.state.revision]

    @stateful.rule(key=KEYS, content=CONTENT)
    def put(self, key: str, content: bytes) -> None:
        after = {**self.now, key: content}
        revision = self.state.revision + 1
        self.state.apply(
            interface.Event(
                revision, key, interface.Record(key, content, revision, revision), self.state.records.get(key)
            )
        )
        self.model[self.state.revision] = after

    @stateful.rule(key=KEYS)
    def delete(self, key: str) -> None:
        previous = self.state.records.get(key)
        if previous is None:
            return
        after = {other: content for other, content in self.now.items() if other != key}
        self.state.apply(interface.Event(self.state.revision + 1, key, None, previous, b"last"))
        self.model[self.state.revision] = after

    @stateful.rule(back=st.integers(0, 5))
    def trim(self, back: int) -> None:
        target = max(self.state.oldest, self.state.revision - back)
        dropped = self.state.trim(target)
        assert [event.revision for event in dropped] == sorted(event.revision for event in dropped)
        assert self.state.oldest == target

    @stateful.rule(prefix=PREFIXES, after=st.one_of(st.just(""), KEYS), limit=st.integers(0, 4), back=st.integers(0, 8))
    def read(self, prefix: str, after: str, limit: int, back: int) -> None:
        revision = max(1, self.state.revision - back)
        if revision < self.state.oldest:
            with pytest.raises(interface.Compacted):
                self.state.range(prefix, after, limit, revision)
            return
        page = self.state.range(prefix, after, limit, revision)
        inside = sorted((key for key in self.model[revision] if key.startswith(prefix) and key > after), key=str.encode)
        expected = inside[:limit] if limit else inside
        assert [(r.key, r.value) for r in page.records] == [(key, self.model[revision][key]) for key in expected]
        assert page.remaining == len(inside) - len(expected)
        assert page.revision == revision

    @stateful.rule(prefix=PREFIXES)
    def count(self, prefix: str) -> None:
        assert self.state.count(prefix) == sum(key.startswith(prefix) for key in self.now)

    @stateful.invariant()
    def history_has_one_change_for_each_revision(self) -> None:
        events = self.state.history_after(self.state.oldest, 10_000)
        assert [event.revision for event in events] == list(range(self.state.oldest + 1, self.state.revision + 1))

    @stateful.invariant()
    def history_is_weighed_right(self) -> None:
        events = self.state.history_after(self.state.oldest, 10_000)
        weight = sum(len(e.previous.value) if e.previous else 0 for e in events) + sum(
            len(e.last_value) for e in events
        )
        assert self.state.history_bytes == weight


StateMachine.TestCase.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
TestState = StateMachine.TestCase


def test_blocks_of_sorted_keys_split_and_vanish() -> None:
    """Many keys, added and removed in an awkward order, stay sorted and counted."""
    every = [f"/{n * 7919 % 10007:05}" for n in range(10007)]
    sorted_keys = keys.SortedKeys()
    for key in every:
        sorted_keys.add(key)
    assert sorted_keys.between("", None) == sorted(every)
    assert sorted_keys.rank("/05000") == 5000
    for key in every[::2] + every[1::4]:
        sorted_keys.remove(key)
    left = sorted(every[3::4])
    assert sorted_keys.between("", None) == left
    assert sorted_keys.between("/04", "/05", 7) == [key for key in left if "/04" <= key < "/05"][:7]
    assert sorted_keys.rank(None) == len(left)


@pytest.mark.parametrize(
    ("prefix", "end"), [("/a", "/b"), ("", None), ("\U0010ffff", None), ("a\U0010ffff", "b"), ("\ud7ff", "\ud800")]
)
def test_the_end_of_a_prefix(prefix: str, end: str | None) -> None:
    assert keys.prefix_end(prefix) == end
