"""Who is next, who waits, and what wakes them."""

from typing import Any

from pinnace.scheduler import pods, queue
from pinnace.testing import scheduling


def make(name: str, **options: Any) -> pods.Pod:
    return pods.read(scheduling.pod(name, **options))


def drain(waiting: queue.SchedulingQueue) -> list[str]:
    names = []
    while (pod := waiting.pop()) is not None:
        names.append(pod.name)
    return names


def test_by_priority_then_by_age() -> None:
    waiting = queue.SchedulingQueue()
    for moment, (name, priority) in enumerate([("a", 0), ("b", 5), ("c", 0), ("d", 5)]):
        waiting.put(make(name, priority=priority), moment)
    assert len(waiting) == 4
    assert drain(waiting) == ["b", "d", "a", "c"]


def test_a_removed_pod_does_not_come() -> None:
    waiting = queue.SchedulingQueue()
    waiting.put(make("a"), 0)
    waiting.put(make("b"), 0)
    waiting.remove(make("a").uid)
    assert len(waiting) == 1
    assert drain(waiting) == ["b"]


def refused(by: str, now: float = 10.0) -> queue.SchedulingQueue:
    waiting = queue.SchedulingQueue()
    waiting.put(make("a"), 0)
    pod = waiting.pop()
    assert pod is not None
    waiting.put_unschedulable(pod, frozenset((by,)) if by else frozenset(), now)
    return waiting


def test_only_what_may_help_wakes_a_pod() -> None:
    waiting = refused("NodeResourcesFit")
    waiting.note(queue.Happening.POD_PLACED, 100)
    waiting.note(queue.Happening.VOLUMES_CHANGED, 100)
    assert drain(waiting) == []
    waiting.note(queue.Happening.POD_GONE, 100)
    assert drain(waiting) == ["a"]


def test_a_users_plug_in_is_woken_by_everything() -> None:
    waiting = refused("MyOwn")
    waiting.note(queue.Happening.POD_PLACED, 100)
    assert drain(waiting) == ["a"]


def test_a_pod_that_met_no_node_waits_for_one() -> None:
    waiting = refused("")
    waiting.note(queue.Happening.NODE_CHANGED, 100)
    assert drain(waiting) == ["a"]


def test_what_wakes_too_early_backs_off_and_longer_each_time() -> None:
    waiting = refused("NodeAffinity", now=10)
    due = []
    for _ in range(6):
        waiting.note(queue.Happening.NODE_CHANGED, 0)
        moment = waiting.next_due()
        assert moment is not None
        due.append(moment - 10)
        waiting.flush(moment - 0.01)
        assert len(waiting) == 0
        waiting.flush(moment)
        assert len(waiting) == 1
        pod = waiting.pop()
        assert pod is not None
        waiting.put_unschedulable(pod, frozenset(("NodeAffinity",)), 10)
    assert due == [1, 2, 4, 8, 10, 10]


def test_who_backs_off_is_tried_early_when_nothing_else_is_to_do() -> None:
    waiting = refused("NodeAffinity", now=10)
    waiting.note(queue.Happening.NODE_CHANGED, 10)
    waiting.put(make("b"), 10)
    assert drain(waiting) == ["b", "a"]
    assert waiting.next_due() is None


def test_who_met_an_error_waits_whatever_happens() -> None:
    waiting = queue.SchedulingQueue()
    waiting.put(make("a"), 0)
    pod = waiting.pop()
    assert pod is not None
    waiting.put_failed(pod, 10)
    waiting.note(queue.Happening.NODE_CHANGED, 10)
    assert drain(waiting) == []
    waiting.flush(11)
    assert drain(waiting) == ["a"]


def test_crowds_wait_for_their_time() -> None:
    waiting = queue.SchedulingQueue()
    for number in range(queue.EARLY + 1):
        waiting.put(make(f"p{number}"), 0)
    while (pod := waiting.pop()) is not None:
        waiting.put_unschedulable(pod, frozenset(("NodeAffinity",)), 10)
    waiting.note(queue.Happening.NODE_CHANGED, 10)
    assert drain(waiting) == []
    waiting.flush(11)
    assert len(drain(waiting)) == queue.EARLY + 1


def test_after_five_minutes_every_pod_is_tried_again() -> None:
    waiting = refused("NodeAffinity", now=10)
    assert waiting.next_due() == 310
    waiting.flush(309)
    assert drain(waiting) == []
    waiting.flush(310)
    assert drain(waiting) == ["a"]


def test_a_change_of_the_pod_itself_wakes_it_but_a_change_of_its_status_does_not() -> None:
    waiting = refused("NodeAffinity", now=10)
    waiting.put(make("a", status={"conditions": [{"type": "PodScheduled"}]}), 100)
    assert drain(waiting) == []
    waiting.put(make("a", nodeSelector={"a": "b"}), 100)
    assert drain(waiting) == ["a"]


def test_a_changed_priority_changes_the_order() -> None:
    waiting = queue.SchedulingQueue()
    waiting.put(make("a"), 0)
    waiting.put(make("b"), 1)
    waiting.put(make("b", priority=7), 2)
    assert len(waiting) == 2
    assert drain(waiting) == ["b", "a"]


def test_a_failed_binding_is_tried_again_without_any_event() -> None:
    waiting = queue.SchedulingQueue()
    waiting.put(make("a"), 0)
    pod = waiting.pop()
    assert pod is not None
    waiting.put_failed(pod, 10)
    assert waiting.next_due() == 11
    waiting.flush(11)
    assert drain(waiting) == ["a"]
