"""A revision's data is what upstream's controllers would have written: they compare bytes, and roll every pod where these differ."""

from typing import Any

from pinnace.api import gojson, resources
from pinnace.apiserver.storage import envelope
from pinnace.controllers.framework import hashing, revisions

OWNER: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "default", "uid": "1"},
    "spec": {
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "terminationGracePeriodSeconds": 30,
                "containers": [{"name": "c", "image": "i", "args": ["a<b>&c\u2028"]}],
                "volumes": [{"name": "v", "projected": {"defaultMode": 420}}],
            },
        }
    },
}
BYTES = (
    rb'{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"app":"web"}},"spec":{'
    rb'"containers":[{"args":["a\u003cb\u003e\u0026c\u2028"],"image":"i","name":"c","resources":{}}],'
    rb'"terminationGracePeriodSeconds":30,"volumes":[{"name":"v","projected":{"defaultMode":420,"sources":null}}]}}}}'
)


def test_the_data_of_a_revision_is_gos_to_the_byte() -> None:
    made = revisions.make(OWNER, resources.STATEFUL_SETS, 1)
    stored = envelope.encode(made)
    assert b'"data":' + BYTES in stored


def test_the_template_of_the_owner_stays_as_it_is() -> None:
    revisions.data_of(OWNER)
    assert "resources" not in OWNER["spec"]["template"]["spec"]["containers"][0]


def test_a_revision_is_found_in_whatever_order_and_detail_it_was_written() -> None:
    template = OWNER["spec"]["template"]
    terse = {
        "data": {
            "spec": {"template": {"$patch": "replace", "spec": template["spec"], "metadata": template["metadata"]}}
        }
    }
    exact = revisions.make(OWNER, resources.STATEFUL_SETS, 1)
    other = {"data": {"spec": {"template": {**template, "metadata": {}, "$patch": "replace"}}}}
    assert revisions.find_same(OWNER, [terse, other, exact]) == [terse, exact]


def test_the_hash_is_upstreams() -> None:
    # FNV-1, 32 bits, from the reference vectors of the algorithm's authors.
    assert hashing.fnv32(b"") == 0x811C9DC5
    assert hashing.fnv32(b"a") == 0x050C5D7E
    assert hashing.fnv32(b"foobar") == 0x31F0B262
    name = revisions.make(OWNER, resources.STATEFUL_SETS, 1)["metadata"]["name"]
    assert name == "web-" + hashing.safe_encode(str(hashing.fnv32(BYTES + b"0")))


def test_numbers_beyond_a_floats_reach_are_rounded_as_go_rounds_them() -> None:
    assert gojson.dumps_map({"b": 2**53 + 1, "a": -5}) == b'{"a":-5,"b":9007199254740992}'
