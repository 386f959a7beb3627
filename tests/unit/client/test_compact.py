"""What informers keep of pods: everything but managed fields, and what is equal once."""

import copy
import sys
import tracemalloc

import orjson

from pinnace.client import compact
from pinnace.kit import buffers


def make_pod(number: int) -> dict[str, object]:
    token = f"kube-api-access-{number}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"web-{number}",
            "labels": {"app": "web"},
            "annotations": {"note": "x" * 500},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web", "controller": True}],
            "managedFields": [{"manager": "kubectl"}],
        },
        "spec": {
            "containers": [
                {
                    "name": "c",
                    "image": "web:1",
                    "env": [{"name": "A", "value": "1"}],
                    "volumeMounts": [{"name": token, "mountPath": "/token", "readOnly": True}],
                }
            ],
            "volumes": [{"name": token, "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
            "tolerations": [{"key": "a", "operator": "Exists"}],
        },
        "status": {"phase": "Running"},
    }


def test_nothing_but_the_managed_fields_is_lost_and_the_original_is_untouched() -> None:
    original = make_pod(1)
    before = copy.deepcopy(original)
    kept = compact.pod(original)
    assert original == before
    del before["metadata"]["managedFields"]  # type: ignore[attr-defined]
    assert kept == before


def test_what_two_pods_of_one_workload_have_in_common_is_one_object() -> None:
    first, second = compact.pod(make_pod(1)), compact.pod(make_pod(2))
    for part in ("labels", "annotations", "ownerReferences"):
        assert first["metadata"][part] is second["metadata"][part]
    assert first["spec"]["tolerations"] is second["spec"]["tolerations"]
    assert first["spec"]["containers"][0]["env"] is second["spec"]["containers"][0]["env"]
    assert first["spec"]["volumes"][0]["projected"] is second["spec"]["volumes"][0]["projected"]


def test_a_pods_own_names_take_no_place_among_what_is_remembered() -> None:
    compact.pod(make_pod(1))
    remembered = compact._remembered.cache_info().currsize
    for number in range(2, 50):
        compact.pod(make_pod(number))
    assert compact._remembered.cache_info().currsize == remembered


def test_long_parts_are_not_remembered() -> None:
    long = {"text": "x" * compact.LONGEST_SHARED}
    assert compact.shared(long) is long


def test_a_trimmed_text_holds_no_more_than_itself() -> None:
    """Why it is there: if this fails because orjson trims by itself, `buffers` can go."""
    tracemalloc.start()
    try:
        kept = [buffers.trimmed(orjson.dumps({"a": number})) for number in range(100)]
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 100 * 200
    assert sys.getsizeof(kept[0]) < 100
