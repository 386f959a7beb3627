"""Managed fields: ownership after writes and applies, conflicts, removal, and the words in which conflicts are told."""

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.api import errors, managed_fields, schema
from pinnace.api.managed_fields import entries, fieldset, walk

POD = schema.definition("io.k8s.api.core.v1.Pod")
SERVICE = schema.definition("io.k8s.api.core.v1.Service")
DEPLOYMENT = schema.definition("io.k8s.api.apps.v1.Deployment")
CONFIG_MAP = schema.definition("io.k8s.api.core.v1.ConfigMap")
WIDGET = schema.from_openapi_v3(
    {"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}}}
)
NOW = "2026-01-02T03:04:05Z"
LATER = "2026-01-02T03:05:00Z"

Object = dict[str, Any]


def config_map(data: dict[str, Any] | None = None, **metadata: Any) -> Object:
    found: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "default", **metadata},
    }
    if data is not None:
        found["data"] = data
    return found


def apply(
    live: Object | None, config: Object, by: str = "a", *, force: bool = False, of: Any = CONFIG_MAP, **more: Any
) -> Object:
    now = more.pop("now", NOW)
    return managed_fields.apply(
        live, config, of, manager=by, force=force, now=now, api_version=config["apiVersion"], **more
    )


def update(old: Object | None, new: Object, by: str = "u", *, of: Any = CONFIG_MAP, **more: Any) -> Object:
    now = more.pop("now", NOW)
    return managed_fields.update(old, new, of, manager=by, now=now, api_version=new["apiVersion"], **more)


def owned(obj: Object, by: str, operation: str | None = None) -> list[str]:
    found = [
        entry["fieldsV1"]
        for entry in obj["metadata"].get("managedFields", ())
        if entry["manager"] == by and operation in (None, entry["operation"])
    ]
    return [fieldset.path_text(path) for fields in found for path in fieldset.paths(fields)]


def without_entries(obj: Object) -> Object:
    return {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "managedFields"}}


# --- sets ---------------------------------------------------------------------------------------------------------


ELEMENTS = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"'])
PATHS = st.lists(ELEMENTS, min_size=1, max_size=3).map(tuple)
PATH_SETS = st.frozensets(PATHS, max_size=8)


def as_set(paths: frozenset[tuple[str, ...]]) -> fieldset.FieldSet:
    found: fieldset.FieldSet = {}
    for path in paths:
        single: fieldset.FieldSet = {}
        for key in reversed(path):
            single = {key: single}
        found = fieldset.union(found, single)
    return found


@given(PATH_SETS, PATH_SETS)
def test_set_operations_are_those_of_sets_of_paths(
    a: frozenset[tuple[str, ...]], b: frozenset[tuple[str, ...]]
) -> None:
    left, right = as_set(a), as_set(b)
    before = copy.deepcopy((left, right))
    assert set(fieldset.paths(left)) == a
    assert set(fieldset.paths(fieldset.union(left, right))) == a | b
    assert set(fieldset.paths(fieldset.difference(left, right))) == a - b
    assert set(fieldset.paths(fieldset.intersection(left, right))) == a & b
    below = {path for path in a if any(path[: len(other)] == other for other in b)}
    assert set(fieldset.paths(fieldset.recursive_difference(left, right))) == a - below
    assert all(fieldset.has(left, path) == (path in a) for path in a | b)
    assert (left, right) == before
    assert fieldset.is_valid(left)


def test_paths_print_as_conflicts_show_them() -> None:
    path = ("f:spec", 'k:{"port":80,"protocol":"TCP"}', 'v:"x"', "i:3", "f:a.b/c")
    assert fieldset.path_text(path) == '.spec[port=80,protocol="TCP"][="x"][3].a.b/c'


@pytest.mark.parametrize("fields", [{"x": {}}, {"f:a": 1}, {"k:{": {}}, {"k:1": {}}, {"i:x": {}}, {"v:": {}}, []])
def test_malformed_sets_are_recognised(fields: Any) -> None:
    assert not fieldset.is_valid(fields)


# --- updates ------------------------------------------------------------------------------------------------------


def test_creating_an_object_owns_its_leaves_and_new_containers() -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "uid": "u", "labels": {"app": "x"}},
        "spec": {
            "containers": [{"name": "c", "resources": {}, "ports": [{"containerPort": 80}]}],
            "securityContext": {},
            "tolerations": [{"key": "a"}],
        },
        "status": {"phase": "Pending"},
    }
    created = update(None, pod, of=POD)
    (entry,) = created["metadata"]["managedFields"]
    assert entry == {
        "manager": "u",
        "operation": "Update",
        "apiVersion": "v1",
        "time": NOW,
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:containers": {
                    'k:{"name":"c"}': {
                        ".": {},
                        "f:name": {},
                        "f:resources": {},
                        "f:ports": {
                            ".": {},
                            'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}},
                        },
                    }
                },
                "f:securityContext": {},
                "f:tolerations": {},
            },
        },
    }
    assert "managedFields" not in pod["metadata"]


def test_custom_resources_have_no_structs_that_exist_before_they_are_written() -> None:
    widget = {"apiVersion": "e.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"a": "1"}}
    created = update(None, widget, of=WIDGET)
    assert created["metadata"]["managedFields"][0]["fieldsV1"] == {"f:spec": {".": {}, "f:a": {}}}


def test_who_changes_a_field_takes_it_and_who_removes_it_frees_it() -> None:
    created = update(None, config_map({"a": "1", "b": "1", "c": "1"}, uid="u"), "first")
    changed = {**created, "data": {"a": "2", "b": "1"}}
    updated = update(created, changed, "second", now=LATER)
    assert owned(updated, "first") == [".data", ".data.b"]
    assert owned(updated, "second") == [".data.a"]
    assert [entry["time"] for entry in updated["metadata"]["managedFields"]] == [NOW, LATER]


def test_a_write_that_changes_nothing_changes_no_entry() -> None:
    created = update(None, config_map({"a": "1"}, uid="u"), "first")
    assert update(created, copy.deepcopy(created), "second", now=LATER) == created
    assert update(created, without_entries(created), "second", now=LATER) == created


def test_status_is_owned_through_its_subresource_alone() -> None:
    created = update(
        None,
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "uid": "u"}, "spec": {"nodeName": "n"}},
        of=POD,
    )
    written = {**created, "status": {"phase": "Running", "podIPs": [{"ip": "1.1.1.1"}]}}
    assert owned(update(created, written, "other", of=POD), "other") == []
    through = update(created, written, "kubelet", of=POD, subresource="status")
    assert [entry.get("subresource") for entry in through["metadata"]["managedFields"]] == ["status", None]
    assert owned(through, "kubelet") == [
        ".status.phase",
        ".status.podIPs",
        '.status.podIPs[ip="1.1.1.1"]',
        '.status.podIPs[ip="1.1.1.1"].ip',
    ]


def test_managed_fields_are_edited_or_reset_by_their_client_but_not_through_a_subresource() -> None:
    created = update(None, config_map({"a": "1"}, uid="u"), "first")
    edited = copy.deepcopy(created)
    edited["metadata"]["managedFields"][0]["manager"] = "renamed"
    assert owned(update(created, edited, "x"), "renamed") == [".data", ".data.a"]
    assert update(created, edited, "x", subresource="status") == created
    for empty in ([], [{}]):
        reset = copy.deepcopy(created)
        reset["metadata"]["managedFields"] = empty
        forgotten = update(created, reset, "x")
        assert "managedFields" not in forgotten["metadata"]
        # Tracking starts again with the next apply only.
        assert "managedFields" not in update(forgotten, {**forgotten, "data": {"a": "2"}}, "x")["metadata"]


@pytest.mark.parametrize(
    "change",
    [{"operation": "Sneeze"}, {"fieldsType": "FieldsV2"}, {"apiVersion": ""}, {"fieldsV1": {"q:x": {}}}],
)
def test_malformed_managed_fields_of_a_request_leave_those_of_the_object(change: dict[str, Any]) -> None:
    created = update(None, config_map({"a": "1"}, uid="u"), "first")
    broken = copy.deepcopy(created)
    broken["metadata"]["managedFields"][0].update(change)
    assert update(created, broken, "x") == created


def test_lists_that_cannot_be_keyed_keep_the_owners_they_had() -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "uid": "u"},
        "spec": {"ports": [{"port": 80}]},
    }
    created = update(None, service, of=SERVICE)
    broken = {**created, "spec": {"ports": [{"name": "no port"}]}}
    assert update(created, broken, "x", of=SERVICE)["metadata"] == created["metadata"]


def test_at_most_ten_updaters_are_remembered() -> None:
    obj = update(None, config_map({"k0": "1"}, uid="u"), "m0", now="2026-01-01T00:00:00Z")
    for number in range(1, 14):
        new = {**obj, "data": {**obj["data"], f"k{number}": "1"}}
        obj = update(obj, new, f"m{number}", now=f"2026-01-01T00:00:{number:02}Z")
    managers = [entry["manager"] for entry in obj["metadata"]["managedFields"]]
    assert len(managers) == entries.MAX_UPDATE_MANAGERS
    assert "ancient-changes" in managers
    assert {f".data.k{number}" for number in range(14)} < {path for by in managers for path in owned(obj, by)}


# --- applies ------------------------------------------------------------------------------------------------------


def test_an_apply_creates_and_owns_what_it_states_and_no_more() -> None:
    made = apply(None, config_map({"a": "1"}, labels={"x": "y"}))
    assert without_entries(made) == config_map({"a": "1"}, labels={"x": "y"})
    assert owned(made, "a") == [".data.a", ".metadata.labels.x"]
    assert made["metadata"]["managedFields"][0]["operation"] == "Apply"


def test_fields_no_longer_applied_go_unless_someone_else_has_them() -> None:
    made = apply(None, config_map({"a": "1", "b": "1", "c": "1"}))
    made = apply(made, config_map({"b": "1"}), "other")
    made = update(made, {**made, "data": {**made["data"], "d": "1"}}, "updater")
    made = apply(made, config_map({"a": "1"}))
    assert made["data"] == {"a": "1", "b": "1", "d": "1"}
    assert owned(made, "a") == [".data.a"]
    assert owned(made, "other") == [".data.b"]
    made = apply(made, config_map())
    assert made["data"] == {"b": "1", "d": "1"}
    assert owned(made, "a") == []


def test_a_container_that_loses_its_last_field_goes_too() -> None:
    made = apply(None, config_map({"a": "1"}))
    assert "data" not in apply(made, config_map())


def test_equal_values_are_shared_and_different_values_conflict() -> None:
    made = apply(None, config_map({"a": "1"}))
    assert owned(apply(made, config_map({"a": "1"}), "b"), "b") == [".data.a"]
    with pytest.raises(errors.StatusError) as raised:
        apply(made, config_map({"a": "2"}), "b")
    assert raised.value.to_json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'Apply failed with 1 conflict: conflict with "a": .data.a',
        "reason": "Conflict",
        "details": {"causes": [{"reason": "FieldManagerConflict", "message": 'conflict with "a"', "field": ".data.a"}]},
        "code": 409,
    }
    forced = apply(made, config_map({"a": "2"}), "b", force=True)
    assert forced["data"] == {"a": "2"}
    assert owned(forced, "a") == []


def test_several_conflicts_are_told_by_manager() -> None:
    made = update(None, config_map({"a": "1", "b": "1"}, uid="u"), "editor")
    made = apply(made, config_map({"c": "1"}), "first")
    with pytest.raises(errors.StatusError) as raised:
        apply(made, config_map({"a": "2", "b": "2", "c": "2"}), "second")
    assert raised.value.message == (
        'Apply failed with 3 conflicts: conflicts with "editor" using v1:\n- .data.a\n- .data.b\nconflicts with "first":\n- .data.c'
    )


def test_status_conflicts_name_the_subresource() -> None:
    live = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "uid": "u"}, "spec": {"nodeName": "n"}}
    live = update(None, live, of=POD)
    live = update(live, {**live, "status": {"phase": "Running"}}, "kubelet", of=POD, subresource="status")
    config = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": "Failed"}}
    with pytest.raises(
        errors.StatusError, match=r'conflict with "kubelet" with subresource "status" using v1: .status.phase'
    ):
        apply(live, config, of=POD, subresource="status")
    # Without the subresource the status of a configuration belongs to nobody.
    assert owned(apply(live, config, "b", of=POD, force=True), "b") == []


def test_an_apply_that_changes_nothing_keeps_its_time() -> None:
    made = apply(None, config_map({"a": "1"}))
    assert apply(made, config_map({"a": "1"}), now=LATER) == made
    assert apply(made, config_map({"a": "2"}), now=LATER)["metadata"]["managedFields"][0]["time"] == LATER


def deployment(replicas: int | None, *containers: Object) -> Object:
    spec: Object = {"template": {"spec": {"containers": list(containers)}}}
    if replicas is not None:
        spec["replicas"] = replicas
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "default"},
        "spec": spec,
    }


def test_lists_of_items_merge_by_key_in_the_order_of_the_configuration() -> None:
    made = apply(None, deployment(1, {"name": "a", "image": "1"}, {"name": "b", "image": "1"}), of=DEPLOYMENT)
    made = apply(made, deployment(None, {"name": "c", "image": "1"}, {"name": "b", "image": "1"}), "b", of=DEPLOYMENT)
    containers = made["spec"]["template"]["spec"]["containers"]
    assert [item["name"] for item in containers] == ["a", "c", "b"]
    made = apply(made, deployment(1, {"name": "b", "image": "1"}), of=DEPLOYMENT)
    assert [item["name"] for item in made["spec"]["template"]["spec"]["containers"]] == ["c", "b"]
    assert owned(made, "b", "Apply") == [
        '.spec.template.spec.containers[name="b"]',
        '.spec.template.spec.containers[name="b"].image',
        '.spec.template.spec.containers[name="b"].name',
        '.spec.template.spec.containers[name="c"]',
        '.spec.template.spec.containers[name="c"].image',
        '.spec.template.spec.containers[name="c"].name',
    ]


def test_handing_a_field_over_to_another_controller() -> None:
    """The documented way: the applier leaves `replicas` out once another manager owns it."""
    made = apply(None, deployment(3, {"name": "a"}), of=DEPLOYMENT)
    made = apply(made, deployment(3), "autoscaler", of=DEPLOYMENT)
    made = apply(made, deployment(None, {"name": "a"}), of=DEPLOYMENT)
    assert made["spec"]["replicas"] == 3
    assert owned(made, "autoscaler") == [".spec.replicas"]


def service(*ports: Object) -> Object:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": list(ports)}}


def test_keys_that_are_left_out_have_their_default() -> None:
    made = apply(None, service({"port": 80}), of=SERVICE)
    made["spec"]["ports"][0]["protocol"] = "TCP"
    made = apply(made, service({"port": 80, "name": "web"}, {"port": 80, "protocol": "UDP"}), of=SERVICE)
    assert made["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "name": "web"}, {"port": 80, "protocol": "UDP"}]
    made = apply(made, service({"port": 80, "protocol": "UDP"}), of=SERVICE)
    assert made["spec"]["ports"] == [{"port": 80, "protocol": "UDP"}]


def test_atomic_values_are_owned_and_replaced_as_a_whole() -> None:
    def pod(*keys: str, selector: dict[str, str]) -> Object:
        spec = {"tolerations": [{"key": key} for key in keys], "nodeSelector": selector}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}

    made = apply(None, pod("a", selector={"x": "1"}), of=POD)
    assert owned(made, "a") == [".spec.nodeSelector", ".spec.tolerations"]
    made = apply(made, pod("b", selector={"y": "1"}), of=POD)
    assert made["spec"] == {"tolerations": [{"key": "b"}], "nodeSelector": {"y": "1"}}


def test_sets_are_owned_value_by_value() -> None:
    made = apply(None, config_map(finalizers=["e.com/a", "e.com/b"]))
    made = apply(made, config_map(finalizers=["e.com/c"]), "b")
    assert owned(made, "a") == ['.metadata.finalizers[="e.com/a"]', '.metadata.finalizers[="e.com/b"]']
    made = apply(made, config_map(finalizers=["e.com/b"]))
    assert sorted(made["metadata"]["finalizers"]) == ["e.com/b", "e.com/c"]


def test_untracked_objects_belong_to_an_unknown_updater_when_first_applied_to() -> None:
    live = config_map({"a": "1", "b": "1"}, uid="u")
    made = apply(live, config_map({"a": "1"}))
    assert owned(made, "before-first-apply") == [".data", ".data.a", ".data.b"]
    with pytest.raises(errors.StatusError, match="before-first-apply"):
        apply(live, config_map({"a": "2"}))


def test_kubectl_does_not_conflict_with_its_own_client_side_past() -> None:
    last = orjson.dumps(config_map({"a": "1", "b": "1"})).decode()
    annotation = {"kubectl.kubernetes.io/last-applied-configuration": last}
    live = update(None, config_map({"a": "1", "b": "1"}, uid="u", annotations=annotation), "kubectl-client-side-apply")
    for by in ("someone", "kubectl"):
        changed = config_map({"a": "2", "b": "1"})
        if by == "someone":
            with pytest.raises(errors.StatusError, match=r'"kubectl-client-side-apply" using v1: .data.a'):
                apply(live, changed, by)
    made = apply(live, config_map({"a": "2", "b": "1"}), "kubectl")
    assert made["data"] == {"a": "2", "b": "1"}
    now = orjson.loads(made["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"])
    assert now == config_map({"a": "2", "b": "1"})
    # A field that was edited since is no longer kubectl's own.
    edited = update(live, {**live, "data": {"a": "9", "b": "1"}}, "editor")
    with pytest.raises(errors.StatusError, match=r'conflict with "editor" using v1: .data.a'):
        apply(edited, config_map({"a": "2", "b": "1"}), "kubectl")


def test_migrating_from_client_side_apply_leaves_nothing_behind() -> None:
    """What `kubectl apply --server-side` does: rename the client-side entry, then apply; a field left out goes."""
    live = update(None, config_map({"a": "1", "b": "1"}, uid="u"), "kubectl-client-side-apply")
    migrated = copy.deepcopy(live)
    migrated["metadata"]["managedFields"][0].update(manager="kubectl", operation="Apply")
    made = apply(update(live, migrated, "kubectl-patch"), config_map({"a": "1"}), "kubectl")
    assert made["data"] == {"a": "1"}
    assert owned(made, "kubectl-client-side-apply") == []


@pytest.mark.parametrize(
    ("config", "of", "code", "words"),
    [
        (config_map(managedFields=[]), CONFIG_MAP, 400, "metadata.managedFields must be nil"),
        (
            {**config_map(), "foo": 1},
            CONFIG_MAP,
            500,
            "failed to create typed patch object (default/c; /v1, Kind=ConfigMap): .foo: field not declared in schema",
        ),
        (
            service({"port": 80}, {"port": 80, "protocol": "TCP"}),
            SERVICE,
            500,
            'failed to create typed patch object (/s; /v1, Kind=Service): .spec.ports: duplicate entries for key [port=80,protocol="TCP"]',
        ),
        (
            service({"name": "x"}),
            SERVICE,
            500,
            "failed to create typed patch object (/s; /v1, Kind=Service): .spec.ports: element 0: associative list with keys has an "
            'element that omits key field "port" (and doesn\'t have default value)',
        ),
    ],
)
def test_configurations_that_do_not_fit(config: Object, of: Any, code: int, words: str) -> None:
    with pytest.raises(errors.StatusError) as raised:
        apply(None, config, of=of)
    assert (raised.value.code, raised.value.message) == (code, words)


def test_a_configuration_of_another_version_is_refused() -> None:
    with pytest.raises(errors.StatusError) as raised:
        managed_fields.apply(
            None, config_map(), CONFIG_MAP, manager="a", force=False, now="2026-01-02T03:04:05Z", api_version="v2"
        )
    assert (
        raised.value.message == "Incorrect version specified in apply patch. Specified patch version: v1, expected: v2"
    )


DATA = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12"), max_size=4)
STEPS = st.lists(st.tuples(st.sampled_from(["x", "y", "z"]), DATA), min_size=1, max_size=6)


@given(STEPS)
def test_appliers_in_any_order(steps: list[tuple[str, dict[str, str]]]) -> None:
    """Forced applies against a model: the object holds what someone applies, each field as its last applier wants it."""
    live: Object | None = None
    wants: dict[str, dict[str, str]] = {}
    for by, data in steps:
        before = copy.deepcopy(live)
        made = apply(live, config_map(data or None), by, force=True)
        assert live == before
        wants[by] = data
        for other, wanted in wants.items():
            if other != by:
                wants[other] = {key: value for key, value in wanted.items() if data.get(key, value) == value}
        union = {key: value for wanted in wants.values() for key, value in wanted.items()}
        assert made.get("data", {}) == union
        for other, wanted in wants.items():
            assert owned(made, other) == [f".data.{key}" for key in sorted(wanted)]
        assert apply(made, config_map(data or None), by) == made
        live = made


CONTAINERS = st.lists(st.sampled_from("abcd"), unique=True, max_size=4)


@given(CONTAINERS, CONTAINERS)
def test_merged_lists_hold_every_item_once_in_the_order_of_the_configuration(
    live: list[str], config: list[str]
) -> None:
    merged = walk.merge(
        deployment(1, *({"name": name} for name in live)),
        deployment(1, *({"name": name} for name in config)),
        DEPLOYMENT,
    )
    found = [item["name"] for item in merged["spec"]["template"]["spec"]["containers"]]
    assert sorted(found) == sorted(set(live) | set(config))
    assert [name for name in found if name in config] == config
    assert [name for name in found if name not in config] == [name for name in live if name not in config]


WRITES = st.lists(st.tuples(st.sampled_from(["x", "y", "z"]), DATA), min_size=1, max_size=8)


@given(WRITES)
def test_every_field_belongs_to_whoever_wrote_it_last(writes: list[tuple[str, dict[str, str]]]) -> None:
    """Ordinary writes against a model: a key is its last changer's, and nobody's once it is gone."""
    live: Object | None = None
    owners: dict[str, str] = {}
    for by, data in writes:
        before = dict(live.get("data", {})) if live is not None else {}
        had_entries = live is None or "managedFields" in live["metadata"]
        live = update(
            live,
            config_map(data or None, uid="u", managedFields=(live or {}).get("metadata", {}).get("managedFields")),
            by,
        )
        owners = {key: owner for key, owner in owners.items() if key in data}
        if had_entries:
            owners.update({key: by for key, value in data.items() if before.get(key) != value})
        for manager in ("x", "y", "z"):
            wanted = [f".data.{key}" for key, owner in sorted(owners.items()) if owner == manager]
            assert [path for path in owned(live, manager) if path != ".data"] == wanted


JSON_LEAVES = st.sampled_from(["", "a", "b"]) | st.integers(0, 2) | st.booleans()
JSON_TREES = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(JSON_LEAVES, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=6),
    max_size=3,
)


@given(JSON_TREES, JSON_TREES)
def test_a_comparison_is_empty_for_equal_values_alone_and_its_parts_are_disjoint(old: Object, new: Object) -> None:
    changed, removed = walk.compare(old, new, None)
    assert (not changed and not removed) == (old == new)
    assert not fieldset.intersection(changed, removed)
    back_changed, back_removed = walk.compare(new, old, None)
    gone = set(fieldset.paths(removed))
    assert gone <= set(fieldset.paths(back_changed))
    assert set(fieldset.paths(back_removed)) <= set(fieldset.paths(changed))


@given(JSON_TREES, JSON_TREES)
def test_merging_states_what_was_applied_and_keeps_the_rest(live: Object, config: Object) -> None:
    merged = walk.merge(live, config, None)
    assert walk.merge(merged, config, None) == merged
    applied = walk.applied(config, None)
    changed, removed = walk.compare(live, merged, None)
    assert not removed or any(not isinstance(value, dict) for value in _values(config))
    for path in fieldset.paths(changed):
        assert any(fieldset.has(applied, path[:length]) for length in range(1, len(path) + 1))


def _values(tree: Object) -> list[Any]:
    found: list[Any] = []
    for value in tree.values():
        found.append(value)
        if isinstance(value, dict):
            found.extend(_values(value))
    return found


def test_fields_are_written_in_upstreams_order_whatever_the_request_says() -> None:
    ports = [
        {"name": "b", "containerPort": 443, "protocol": "TCP"},
        {"name": "a", "containerPort": 80, "protocol": "UDP"},
        {"name": "c", "containerPort": 80, "protocol": "TCP"},
    ]
    container = {"ports": ports, "name": "c", "image": "i"}
    metadata = {"name": "a", "namespace": "n", "labels": {"z": "1", "a": "1"}, "finalizers": ["y/y", "x/x"]}
    pod = {"spec": {"restartPolicy": "Never", "containers": [container]}, "metadata": metadata}
    made = managed_fields.update(
        None, {**pod, "apiVersion": "v1", "kind": "Pod"}, POD, manager="m", now="2026-01-02T03:04:05Z", api_version="v1"
    )
    (entry,) = made["metadata"]["managedFields"]
    assert orjson.dumps(entry["fieldsV1"]).decode() == (
        '{"f:metadata":{"f:finalizers":{".":{},"v:\\"x/x\\"":{},"v:\\"y/y\\"":{}},"f:labels":{".":{},"f:a":{},"f:z":{}}},'
        '"f:spec":{"f:containers":{"k:{\\"name\\":\\"c\\"}":{".":{},"f:image":{},"f:name":{},"f:ports":{".":{},'
        '"k:{\\"containerPort\\":80,\\"protocol\\":\\"TCP\\"}":{".":{},"f:containerPort":{},"f:name":{},"f:protocol":{}},'
        '"k:{\\"containerPort\\":80,\\"protocol\\":\\"UDP\\"}":{".":{},"f:containerPort":{},"f:name":{},"f:protocol":{}},'
        '"k:{\\"containerPort\\":443,\\"protocol\\":\\"TCP\\"}":{".":{},"f:containerPort":{},"f:name":{},"f:protocol":{}}}}},'
        '"f:restartPolicy":{}}}'
    )


def test_what_one_writer_loses_leaves_the_others_order_as_it_was() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"b": "1", "a": "1", "c": "1"}}}
    first = managed_fields.update(None, pod, POD, manager="m", now="2026-01-02T03:04:05Z", api_version="v1")
    changed = {**first, "metadata": {**first["metadata"], "labels": {"b": "1", "c": "2", "a": "1"}}}
    second = managed_fields.update(first, changed, POD, manager="o", now="2026-01-02T03:04:05Z", api_version="v1")
    shown = [orjson.dumps(entry["fieldsV1"]).decode() for entry in second["metadata"]["managedFields"]]
    assert shown == [
        '{"f:metadata":{"f:labels":{".":{},"f:a":{},"f:b":{}}}}',
        '{"f:metadata":{"f:labels":{"f:c":{}}}}',
    ]
