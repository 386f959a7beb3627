"""Pods found by an index of labels are those that a look at every pod finds."""

from hypothesis import given
from hypothesis import strategies as st

from pinnace.api import resources, selectors
from pinnace.client import cache
from pinnace.controllers.framework import labelled
from pinnace.controllers.framework import lister as views

_LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xyz"))
_TERM = st.sampled_from(["a=x", "a!=x", "a in (y)", "b in (x,y)", "b notin (x)", "a", "!b"])


@given(st.lists(st.tuples(st.sampled_from(["one", "two"]), _LABELS), max_size=8), st.lists(_TERM, max_size=3))
def test_an_index_finds_what_a_scan_finds(pods: list[tuple[str, dict[str, str]]], terms: list[str]) -> None:
    pods_cache = cache.Cache()
    resource, name, function = labelled.PODS
    pods_cache.add_index(name, function)
    for number, (namespace, labels) in enumerate(pods):
        metadata = {"namespace": namespace, "name": str(number), "labels": labels}
        pods_cache.set((namespace, str(number)), {"metadata": metadata})
    view = views.View({resource: pods_cache})
    selector = selectors.LabelSelector.parse(",".join(terms))
    expected = [
        str(number)
        for number, (namespace, labels) in enumerate(pods)
        if namespace == "one" and selector.matches(labels)
    ]
    assert sorted(pod["metadata"]["name"] for pod in labelled.pods_of(view, "one", selector)) == expected
    assert resource == resources.PODS
