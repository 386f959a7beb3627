"""Which node a pod gets, and in which words it is refused: tables of upstream's behaviour, and what must never happen."""

import dataclasses
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace.api import selectors
from pinnace.scheduler import decide, defaults, framework, pods, snapshot, volumes
from pinnace.testing import scheduling

node, pod, cluster = scheduling.node, scheduling.pod, scheduling.cluster
Object = dict[str, Any]


def decider(
    nodes: snapshot.Snapshot, catalog: volumes.Catalog | None = None, services: tuple[Object, ...] = ()
) -> decide.Decider:
    profile = defaults.profile(catalog or volumes.Catalog(), lambda namespace: services)
    return decide.Decider(profile, nodes, random.Random(1))


def choose(nodes: snapshot.Snapshot, obj: Object, **options: Any) -> str:
    """The node's name, or the message."""
    decision = decider(nodes, **options).decide(pods.read(obj))
    return decision.message() if isinstance(decision, framework.Diagnosis) else nodes.names[decision]


def place_all(nodes: snapshot.Snapshot, objects: list[Object], **options: Any) -> list[str]:
    """As the loop does: each decision is assumed before the next."""
    chooser = decider(nodes, **options)
    chosen = []
    for obj in objects:
        one = pods.read(obj)
        decision = chooser.decide(one)
        if isinstance(decision, framework.Diagnosis):
            chosen.append(decision.message())
        else:
            chosen.append(nodes.names[decision])
            nodes.place(one, nodes.names[decision])
    return chosen


def terms(*expressions: tuple[str, str, list[str]], fields: bool = False) -> Object:
    made = [{"key": key, "operator": operator, "values": values} for key, operator, values in expressions]
    return {"nodeSelectorTerms": [{"matchFields" if fields else "matchExpressions": made}]}


def node_affinity(selector: Object) -> Object:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}


def pod_affinity(kind: str, key: str = pods.HOSTNAME, **labels: str) -> Object:
    term = {"topologyKey": key, "labelSelector": {"matchLabels": labels}}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


REFUSALS = [
    ("too much cpu", {"cpu": "5"}, {}, "Insufficient cpu"),
    ("too much memory", {"memory": "9Gi"}, {}, "Insufficient memory"),
    ("an unknown resource", {"requests": {"example.com/gpu": "1"}}, {}, "Insufficient example.com/gpu"),
    ("no room for pods", {}, {"pods": 0}, "Too many pods"),
    ("cordoned", {}, {"unschedulable": True}, "node(s) were unschedulable"),
    ("tainted", {}, {"taints": ["dedicated=db:NoSchedule"]}, "node(s) had untolerated taint(s)"),
    ("tainted for running pods too", {}, {"taints": ["bad:NoExecute"]}, "node(s) had untolerated taint(s)"),
    ("selector", {"nodeSelector": {"disk": "ssd"}}, {}, "node(s) didn't match Pod's node affinity/selector"),
    (
        "affinity",
        {"affinity": node_affinity(terms(("cores", "Gt", ["8"])))},
        {"labels": {"cores": "8"}},
        "node(s) didn't match Pod's node affinity/selector",
    ),
    (
        "another node's name",
        {"affinity": node_affinity(terms(("metadata.name", "In", ["other"]), fields=True))},
        {},
        "node(s) didn't satisfy plugin(s) [NodeAffinity]",
    ),
    (
        "no zone to spread over",
        {
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
            ]
        },
        {},
        "node(s) didn't match pod topology spread constraints (missing required label)",
    ),
    (
        "nobody to be near to",
        {"affinity": pod_affinity("podAffinity", app="db")},
        {},
        "node(s) didn't match pod affinity rules",
    ),
    ("a claim that is not there", {"claims": ["data"]}, {}, 'persistentvolumeclaim "data" not found'),
]


@pytest.mark.parametrize(
    ("wanted", "offered", "reason"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
def test_a_refusal_is_worded_as_upstream_words_it(wanted: Object, offered: Object, reason: str) -> None:
    message = choose(cluster(node("n1", **offered)), pod("p", **wanted))
    counted = reason if "claim" in reason else f"1 {reason}"
    assert message == f"0/1 nodes are available: {counted}."


FITS = [
    ("exactly all", {"cpu": "4", "memory": "8Gi"}, {}),
    ("an extended resource", {"requests": {"example.com/gpu": "2"}}, {"extended": {"example.com/gpu": "2"}}),
    ("a tolerated taint", {"tolerations": [{"key": "a", "operator": "Exists"}]}, {"taints": ["a=b:NoSchedule"]}),
    (
        "a tolerated value",
        {"tolerations": [{"key": "a", "value": "b", "effect": "NoSchedule"}]},
        {"taints": ["a=b:NoSchedule"]},
    ),
    (
        "everything tolerated",
        {"tolerations": [{"operator": "Exists"}]},
        {"taints": ["a:NoExecute"], "unschedulable": True},
    ),
    ("a soft taint", {}, {"taints": ["a:PreferNoSchedule"]}),
    ("selector", {"nodeSelector": {"disk": "ssd"}}, {"labels": {"disk": "ssd"}}),
    ("Gt", {"affinity": node_affinity(terms(("cores", "Gt", ["8"])))}, {"labels": {"cores": "9"}}),
    ("Lt", {"affinity": node_affinity(terms(("cores", "Lt", ["8"])))}, {"labels": {"cores": "7"}}),
    ("NotIn a missing label", {"affinity": node_affinity(terms(("a", "NotIn", ["b"])))}, {}),
    ("DoesNotExist", {"affinity": node_affinity(terms(("a", "DoesNotExist", [])))}, {}),
    ("Exists", {"affinity": node_affinity(terms(("a", "Exists", [])))}, {"labels": {"a": ""}}),
    ("its own name", {"affinity": node_affinity(terms(("metadata.name", "In", ["n1"]), fields=True))}, {}),
    ("near its own kind, the first", {"labels": {"a": "b"}, "affinity": pod_affinity("podAffinity", a="b")}, {}),
]


@pytest.mark.parametrize(("wanted", "offered"), [row[1:] for row in FITS], ids=[row[0] for row in FITS])
def test_what_fits(wanted: Object, offered: Object) -> None:
    assert choose(cluster(node("n1", **offered)), pod("p", **wanted)) == "n1"


def test_each_node_counts_with_the_reason_of_its_first_refusal() -> None:
    nodes = cluster(
        node("small", cpu="1", memory="1Gi"),
        node("tainted", taints=["a:NoSchedule"], cpu="1"),
        node("also-tainted", taints=["b:NoSchedule"]),
    )
    assert choose(nodes, pod("p", cpu="2", memory="2Gi")) == (
        "0/3 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 2 node(s) had untolerated taint(s)."
    )


def test_without_nodes() -> None:
    assert choose(cluster(), pod("p")) == "no nodes available to schedule pods"


@pytest.mark.parametrize(
    ("taken", "wanted", "fits"),
    [
        ({"hostPort": 80}, {"hostPort": 80}, False),
        ({"hostPort": 80}, {"hostPort": 81}, True),
        ({"hostPort": 80}, {"hostPort": 80, "protocol": "UDP"}, True),
        ({"hostPort": 80, "hostIP": "127.0.0.1"}, {"hostPort": 80, "hostIP": "127.0.0.2"}, True),
        ({"hostPort": 80, "hostIP": "127.0.0.1"}, {"hostPort": 80, "hostIP": "0.0.0.0"}, False),
        ({"hostPort": 80}, {"hostPort": 80, "hostIP": "127.0.0.2"}, False),
    ],
)
def test_host_ports_conflict_by_protocol_port_and_address(taken: Object, wanted: Object, fits: bool) -> None:
    nodes = cluster(node("n1"), placed=(pod("old", node="n1", ports=[taken]),))
    expected = (
        "n1" if fits else ("0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.")
    )
    assert choose(nodes, pod("new", ports=[wanted])) == expected


def container(cpu: str, **extra: Any) -> Object:
    return {"name": "c", "resources": {"requests": {"cpu": cpu}}, **extra}


@pytest.mark.parametrize(
    ("spec", "milli"),
    [
        ({"containers": [container("1"), container("500m")]}, 1500),
        ({"containers": [container("1")], "initContainers": [container("3")]}, 3000),
        ({"containers": [container("2")], "initContainers": [container("1"), container("1")]}, 2000),
        ({"containers": [container("1")], "initContainers": [container("1", restartPolicy="Always")]}, 2000),
        (
            {
                "containers": [container("1")],
                "initContainers": [
                    container("1", restartPolicy="Always"),
                    container("3"),
                    container("500m", restartPolicy="Always"),
                ],
            },
            4000,
        ),
        ({"containers": [container("1")], "overhead": {"cpu": "250m"}}, 1250),
        ({"containers": [container("1")], "resources": {"requests": {"cpu": "2"}}}, 2000),
    ],
    ids=["sum", "init is larger", "init is smaller", "sidecar", "sidecars before and after", "overhead", "pod level"],
)
def test_what_a_pod_requests(spec: Object, milli: int) -> None:
    assert pods.pod_requests(spec)[0]["cpu"] == milli


def test_anti_affinity_keeps_away_in_both_directions() -> None:
    nodes = cluster(node("n1"), node("n2"))
    lonely = pod_affinity("podAntiAffinity", app="web")
    chosen = place_all(
        nodes,
        [
            pod("a", labels={"app": "web"}, affinity=lonely),
            pod("b", labels={"app": "web"}),
            pod("c", labels={"app": "web"}),
        ],
    )
    assert chosen[0] != chosen[1] == chosen[2], "those without a term of their own are kept away by the first"
    assert place_all(nodes, [pod("d", labels={"app": "web"}, affinity=lonely)]) == [
        "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."
    ]


def test_a_placed_pods_anti_affinity_is_named() -> None:
    lonely = pod("a", node="n1", affinity=pod_affinity("podAntiAffinity", app="web"))
    message = choose(cluster(node("n1"), placed=(lonely,)), pod("b", labels={"app": "web"}))
    assert message == "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules."


def test_affinity_draws_into_the_same_domain_and_namespace_only() -> None:
    zones = [node(f"n{n}", labels={pods.ZONE: f"z{n % 2}"}) for n in range(4)]
    nodes = cluster(*zones, placed=(pod("db", node="n3", labels={"app": "db"}),))
    near = pod_affinity("podAffinity", key=pods.ZONE, app="db")
    assert set(place_all(nodes, [pod(f"p{n}", affinity=near, cpu="1") for n in range(4)])) == {"n1", "n3"}
    assert "didn't match pod affinity rules" in choose(nodes, pod("q", namespace="other", affinity=near))
    term = near["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]
    everywhere = {
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{**term, "namespaceSelector": {}}]}
    }
    assert choose(nodes, pod("r", namespace="other", affinity=everywhere)) in ("n1", "n3")


def spread(skew: int = 1, key: str = pods.ZONE, when: str = "DoNotSchedule", **extra: Any) -> list[Object]:
    selector = {"matchLabels": {"app": "web"}}
    return [{"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": when, "labelSelector": selector, **extra}]


def test_spreading_keeps_the_skew() -> None:
    zones = [node(f"n{n}", labels={pods.ZONE: f"z{n % 3}"}, pods=10) for n in range(7)]
    nodes = cluster(*zones)
    chosen = place_all(
        nodes, [pod(f"p{n}", labels={"app": "web"}, topologySpreadConstraints=spread()) for n in range(12)]
    )
    per_zone = [sum(int(name[1:]) % 3 == zone for name in chosen) for zone in range(3)]
    assert per_zone == [4, 4, 4]


def test_spreading_refuses_what_would_skew() -> None:
    nodes = cluster(
        node("n1", labels={pods.ZONE: "a"}),
        node("n2", labels={pods.ZONE: "b"}, unschedulable=True),
        placed=(pod("p", node="n1", labels={"app": "web"}),),
    )
    message = choose(nodes, pod("q", labels={"app": "web"}, topologySpreadConstraints=spread()))
    assert message == (
        "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) were unschedulable."
    )


def test_fewer_domains_than_asked_for_count_as_empty_ones() -> None:
    nodes = cluster(node("n1", labels={pods.ZONE: "a"}), placed=(pod("p", node="n1", labels={"app": "web"}),))
    wanted = pod("q", labels={"app": "web"}, topologySpreadConstraints=spread(minDomains=2))
    assert "didn't match pod topology spread constraints" in choose(nodes, wanted)
    assert choose(nodes, pod("r", labels={"app": "web"}, topologySpreadConstraints=spread())) == "n1"


def test_pods_of_one_controller_or_service_are_spread_without_being_asked() -> None:
    big = node("big", cpu="64", memory="256Gi")
    for options in ({"owner": ("ReplicaSet", "web-1")}, {}):
        nodes = cluster(big, node("n1"), node("n2"))
        service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}}}
        objects = [pod(f"p{n}", labels={"app": "web"}, cpu="10m", memory="1Mi", **options) for n in range(6)]
        chosen = place_all(nodes, objects, services=(service,))
        assert sorted(chosen) == ["big", "big", "n1", "n1", "n2", "n2"]


def test_the_emptiest_node_is_best() -> None:
    nodes = cluster(node("n1"), node("n2"), placed=(pod("p", node="n1", cpu="1", memory="2Gi"),))
    assert choose(nodes, pod("q", cpu="100m", memory="200Mi")) == "n2"


def test_containers_without_requests_are_scored_as_if_they_had_some() -> None:
    nodes = cluster(node("n1"), node("n2"), placed=tuple(pod(f"p{n}", node="n1") for n in range(10)))
    assert choose(nodes, pod("q")) == "n2"


def test_preferences_decide_between_equal_nodes() -> None:
    affinity = {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 10, "preference": terms(("disk", "In", ["ssd"]))["nodeSelectorTerms"][0]}
            ]
        }
    }
    nodes = cluster(node("n1"), node("n2", labels={"disk": "ssd"}), node("n3"))
    assert choose(nodes, pod("p", affinity=affinity)) == "n2"
    assert choose(cluster(node("n1", taints=["a:PreferNoSchedule"]), node("n2")), pod("p")) == "n2"
    images = {"app:1": 900 << 20}
    assert choose(cluster(node("n1"), node("n2", images=images)), pod("p", image="app:1")) == "n2"
    preferred = [
        {"weight": 100, "podAffinityTerm": {"topologyKey": pods.HOSTNAME, "labelSelector": {"matchLabels": {"a": "b"}}}}
    ]
    nodes = cluster(node("n1"), node("n2"), placed=(pod("old", node="n1", labels={"a": "b"}),))
    near: Object = {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
    assert choose(nodes, pod("p", affinity=near)) == "n1"
    far: Object = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
    assert choose(nodes, pod("p", affinity=far)) == "n2"


def test_equal_pods_and_mixed_ones_get_what_a_fresh_look_would_give() -> None:
    """What is remembered between pods never differs from what is computed anew."""
    rng = random.Random(7)
    nodes = cluster(*(node(f"n{n}", cpu=rng.choice(["2", "8"]), labels={pods.ZONE: f"z{n % 3}"}) for n in range(12)))
    chooser = decider(nodes)
    kinds: list[Object] = [
        {"cpu": "500m"},
        {"cpu": "100m", "labels": {"app": "web"}, "topologySpreadConstraints": spread()},
        {"labels": {"app": "web"}, "affinity": pod_affinity("podAntiAffinity", app="db")},
        {"labels": {"app": "db"}, "ports": [{"hostPort": 80}]},
        {"cpu": "100m", "owner": ("ReplicaSet", "x"), "labels": {"x": "y"}},
    ]
    alive: list[pods.Pod] = []
    for step in range(300):
        one = pods.read(pod(f"p{step}", **rng.choice(kinds)))
        remembered = chooser.decide(one)
        run = chooser._run(one.demand)
        fresh = decide._Run(chooser.profile, one.demand, nodes)
        fresh.refresh()
        assert (run.feasible() == fresh.feasible()).all()
        assert (run.scores(run.feasible()) == fresh.scores(fresh.feasible())).all()
        if not isinstance(remembered, framework.Diagnosis):
            nodes.place(one, nodes.names[remembered])
            alive.append(one)
        if alive and rng.random() < 0.4:
            nodes.remove_pod(alive.pop(rng.randrange(len(alive))).uid)
        if step % 50 == 0:
            assert_counters_are_right(nodes, alive)


def assert_counters_are_right(nodes: snapshot.Snapshot, alive: list[pods.Pod]) -> None:
    """What is counted up and down equals a recount."""
    again = snapshot.Snapshot()
    again.__dict__.update({name: getattr(nodes, name) for name in ("names", "row_of", "namespace_labels")})
    again.groups = {}
    for one in alive:
        row = nodes.placed[one.uid][1]
        key = (one.namespace, tuple(sorted(one.demand.labels.items())))
        again.groups.setdefault(key, snapshot.Group(one.namespace, one.demand.labels)).rows[row] += 1
    web = selectors.from_labels({"app": "web"})
    assert (nodes.count_matching("default", web) == again.count_matching("default", web)).all()
    for use in nodes.term_uses.values():
        assert (nodes.count_meant(use.term) == again.count_meant(use.term)).all()


NODE_SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
POD_SHAPES = st.tuples(st.integers(0, 2000), st.integers(0, 2000), st.sampled_from([0, 0, 80, 81]), st.booleans())


@settings(max_examples=80, deadline=None)
@given(st.lists(NODE_SHAPES, min_size=1, max_size=5), st.lists(POD_SHAPES, max_size=25), st.integers(0, 100))
def test_never_overcommitted_and_no_host_port_twice(
    shapes: list[tuple[int, int, int]], wanted: list[tuple[int, int, int, bool]], seed: int
) -> None:
    """G8, for any nodes and pods, with pods coming and going."""
    rng = random.Random(seed)
    nodes = cluster(
        *(
            node(f"n{n}", cpu=str(cpu), memory=f"{memory}Gi", pods=limit)
            for n, (cpu, memory, limit) in enumerate(shapes)
        )
    )
    chooser = decider(nodes)
    placed: dict[str, tuple[Object, str]] = {}
    for number, (cpu, memory, port, goes) in enumerate(wanted):
        obj = pod(f"p{number}", cpu=f"{cpu}m", memory=f"{memory}Mi", ports=[{"hostPort": port}] if port else [])
        one = pods.read(obj)
        decision = chooser.decide(one)
        if isinstance(decision, int):
            nodes.place(one, nodes.names[decision])
            placed[one.uid] = ({"cpu": cpu, "memory": memory, "port": port}, nodes.names[decision])
        if goes and placed:
            gone = rng.choice(sorted(placed))
            nodes.remove_pod(gone)
            del placed[gone]
        for index, (cpus, memories, limit) in enumerate(shapes):
            here = [demand for demand, name in placed.values() if name == f"n{index}"]
            assert sum(demand["cpu"] for demand in here) <= cpus * 1000
            assert sum(demand["memory"] for demand in here) <= memories * 1024
            assert len(here) <= limit
            ports = [demand["port"] for demand in here if demand["port"]]
            assert len(ports) == len(set(ports))


def test_a_node_that_goes_and_comes_back_keeps_its_pods() -> None:
    nodes = cluster(node("n1", cpu="1"), placed=(pod("p", node="n1", cpu="1"),))
    nodes.remove_node("n1")
    assert choose(nodes, pod("q", cpu="1")) == "no nodes available to schedule pods"
    nodes.put_node(node("n1", cpu="1"))
    assert choose(nodes, pod("q", cpu="1")) == "0/1 nodes are available: 1 Insufficient cpu."


def test_pods_seen_before_their_node_count_once_it_comes() -> None:
    nodes = cluster()
    nodes.put_pod(pods.read(pod("p", node="n1", cpu="1")))
    nodes.put_node(node("n1", cpu="1"))
    assert choose(nodes, pod("q", cpu="1")) == "0/1 nodes are available: 1 Insufficient cpu."


class PrefersOddNames:
    """A user's plug-in in a few lines."""

    name = "PrefersOddNames"
    weight = 50
    is_normalized = False

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        return True

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Reach:
        return framework.Reach.NODE

    def score(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> framework.Floats:
        return np.array([nodes.names[row][-1] in "13579" for row in nodes.rows(rows)], dtype=np.float64)

    def normalize(self, scores: framework.Floats, feasible: snapshot.Mask) -> framework.Floats:
        return framework.normalize_to_max(scores, feasible)

    def filter(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> list[framework.Failure]:
        refused = np.array([nodes.names[row] == "n5" for row in nodes.rows(rows)], dtype=np.bool_)
        return [framework.Failure("node(s) were called n5", refused, is_resolvable=False)]


def test_a_users_plug_in_filters_and_scores() -> None:
    default = defaults.profile(volumes.Catalog(), lambda namespace: ())
    own = PrefersOddNames()
    profile = dataclasses.replace(default, filters=(*default.filters, own), scores=(*default.scores, own))
    nodes = cluster(node("n2"), node("n3", cpu="2"), node("n4"), node("n5"))
    chooser = decide.Decider(profile, nodes, random.Random(1))
    assert chooser.decide(pods.read(pod("p", cpu="1"))) == nodes.row_of["n3"]
    refused = chooser.decide(pods.read(pod("q", cpu="100")))
    assert isinstance(refused, framework.Diagnosis)
    assert refused.message() == "0/4 nodes are available: 4 Insufficient cpu."


def test_what_no_node_looks_at_makes_no_difference() -> None:
    def make(name: str, **more: Any) -> dict[str, Any]:
        return pod(
            name,
            cpu="1",
            claims=("data",),
            labels={"a": "b"},
            owner=("ReplicaSet", "x"),
            nodeSelector={"a": "b"},
            tolerations=[{"operator": "Exists"}],
            affinity=pod_affinity("podAffinity", app="db"),
            topologySpreadConstraints=spread(),
            ports=[{"hostPort": 80, "containerPort": 80}],
            **more,
        )

    plain = make("p")
    other = make(
        "q", status={"phase": "Pending", "podIP": "10.0.0.1"}, dnsPolicy="Default", schedulingGates=[{"name": "g"}]
    )
    other["spec"]["containers"][0]["env"] = [{"name": "BIG", "value": "x" * 1000}]
    other["spec"]["volumes"].append({"name": "big", "projected": {"sources": []}})
    assert pods.read(plain).demand is pods.read(other).demand
    assert pods.read(plain).demand is not pods.read(make("r", overhead={"cpu": "1"})).demand
