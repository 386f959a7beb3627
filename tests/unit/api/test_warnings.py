"""What clients are warned of although their object is stored, in upstream's words."""

from typing import Any

import pytest

from pinnace.api import kinds

POD = kinds.builtin().by_kind("", "v1", "Pod")


def _env(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"name": "c", "image": "i", "env": [{"name": name, "value": value} for name, value in pairs]}


@pytest.mark.parametrize(
    ("pairs", "wanted"),
    [
        ((("A", "1"), ("B", "2")), []),
        (
            (("A", "1"), ("A", "2")),
            ['spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply'],
        ),
        ((("PATH", "/bin"), ("PATH", "$(PATH):/sbin")), []),
    ],
)
def test_environment_that_is_named_twice(pairs: tuple[tuple[str, str], ...], wanted: list[str]) -> None:
    assert POD is not None
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [_env(*pairs)]}}
    assert POD.rules.warnings(pod, None, "") == wanted
    assert POD.rules.warnings(pod, pod, "") == []
