"""What becomes of recorded events: written as upstream writes them, counted, combined, limited."""

import asyncio
import datetime
import tracemalloc
from typing import Any

from pinnace.client import client, correlate, events, transport
from pinnace.testing import fake_api, loop_time

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "team", "uid": "u1", "resourceVersion": "7"},
}


def stored(api: fake_api.FakeApi) -> list[dict[str, Any]]:
    return [obj for key, obj in api.objects.items() if key[0] == "/api/v1/events"]


def test_an_event_names_its_object_source_and_times() -> None:
    async def main(clock: loop_time.LoopClock) -> None:
        api = fake_api.FakeApi()
        cluster = client.Client(transport.DirectTransport(api.handle, None))
        recorder = events.EventRecorder(cluster, "kubelet", clock, host="n1")
        recorder.warning(POD, "BackOff", "restarting", field_path="spec.containers{main}")
        await recorder.flush()
        (event,) = stored(api)
        assert event["metadata"]["namespace"] == "team"
        name, _, suffix = event["metadata"]["name"].partition(".")
        assert name == "web"
        assert int(suffix, 16) > 10**18
        assert event["involvedObject"] == {
            "kind": "Pod",
            "namespace": "team",
            "name": "web",
            "uid": "u1",
            "apiVersion": "v1",
            "resourceVersion": "7",
            "fieldPath": "spec.containers{main}",
        }
        assert (event["type"], event["reason"], event["message"]) == ("Warning", "BackOff", "restarting")
        assert event["source"] == {"component": "kubelet", "host": "n1"}
        assert (event["reportingComponent"], event["reportingInstance"]) == ("kubelet", "n1")
        assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-01-01T00:00:00Z"
        assert event["count"] == 1

    loop_time.run(main)


def test_repeats_are_counted_into_one_event_also_after_it_expired() -> None:
    async def main(clock: loop_time.LoopClock) -> None:
        api = fake_api.FakeApi()
        recorder = events.EventRecorder(client.Client(transport.DirectTransport(api.handle, None)), "c", clock)
        for _ in range(3):
            recorder.normal(POD, "Pulled", "image is there")
            await recorder.flush()
            await asyncio.sleep(60)
        (event,) = stored(api)
        assert (event["count"], event["firstTimestamp"], event["lastTimestamp"]) == (
            3,
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:02:00Z",
        )
        api.objects.clear()
        recorder.normal(POD, "Pulled", "image is there")
        await recorder.flush()
        (event,) = stored(api)
        assert event["count"] == 4

    loop_time.run(main)


def test_an_unreachable_api_is_tried_again_without_blocking_the_caller() -> None:
    async def main(clock: loop_time.LoopClock) -> None:
        api = fake_api.FakeApi()

        def refuse(request: Any) -> None:
            raise client.unavailable("no")

        api.fault = refuse
        recorder = events.EventRecorder(client.Client(transport.DirectTransport(api.handle, None)), "c", clock)
        task = asyncio.create_task(recorder.run())
        recorder.normal(POD, "Started", "it runs")
        await asyncio.sleep(3)
        assert stored(api) == []
        api.fault = lambda request: None
        await asyncio.sleep(10)
        assert len(stored(api)) == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    loop_time.run(main)


def observe(correlator: correlate.Correlator, message: str, moment: float) -> correlate.Write | None:
    now = loop_time.EPOCH
    event = correlate.make_event(
        POD, "Warning", "Failed", message, field_path="", component="c", host="", now=now, name_suffix=int(moment * 10)
    )
    return correlator.observe(event, moment)


def test_many_similar_messages_are_combined() -> None:
    correlator = correlate.Correlator()
    writes = [observe(correlator, f"attempt {number}", number) for number in range(12)]
    assert [bool(write and write.event["message"].startswith(correlate.COMBINED)) for write in writes] == [
        False
    ] * 9 + [True] * 3
    assert [write.event["count"] for write in writes[9:] if write] == [1, 2, 3]


def test_a_source_that_writes_too_much_about_one_object_is_cut() -> None:
    correlator = correlate.Correlator()
    writes = [observe(correlator, "same", 0.0) for _ in range(40)]
    assert sum(1 for write in writes if write) == correlate.BURST
    assert observe(correlator, "same", correlate.REFILL_SECONDS + 1) is not None


def test_what_is_over_is_forgotten_and_what_matters_is_not() -> None:
    """Thousands of pods come and go: memory holds those of the last while, and what it drops changes no answer."""
    correlator = correlate.Correlator()

    def sizes() -> tuple[int, int, int]:
        return len(correlator._written), len(correlator._similar), len(correlator._buckets)

    def observe(name: str, moment: float) -> correlate.Write | None:
        pod = {**POD, "metadata": {**POD["metadata"], "name": name, "uid": name}}
        now = loop_time.EPOCH
        made = correlate.make_event(
            pod, "Normal", "Started", "up", field_path="", component="k", host="n", now=now, name_suffix=1
        )
        return correlator.observe(made, moment)

    for number in range(1000):
        observe(f"pod-{number}", 0.0)
    assert sizes() == (1000, 1000, 1000)
    observe("later", 601.0)
    assert sizes() == (1001, 1, 1)
    repeated = observe("pod-3", 3000.0)
    assert repeated is not None
    assert (repeated.is_repeat, repeated.event["count"]) == (True, 2)
    observe("last", 3700.0)
    assert sizes()[0] == 3


def test_what_is_remembered_of_events_is_small_however_long_they_are() -> None:
    correlator = correlate.Correlator()

    def observe(number: int) -> None:
        regarding = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"p{number}", "namespace": "n", "uid": f"{number}"},
        }
        now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        event = correlate.make_event(
            regarding, "Normal", "Long", f"{number}" * 20_000, field_path="f" * 1000, component="c", host="h", now=now,
            name_suffix=number,
        )  # fmt: skip
        assert correlator.observe(event, float(number) / 1000) is not None

    observe(0)
    tracemalloc.start()
    try:
        for number in range(1, 501):
            observe(number)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 500 * 2048
