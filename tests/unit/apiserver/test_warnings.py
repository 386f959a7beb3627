"""What a kind's rules warn of reaches the client of every write, once, within upstream's bounds."""

from pinnace.apiserver.http import respond
from pinnace.testing import api_server

PODS = "/api/v1/namespaces/default/pods"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
HIDES = '299 - "spec.containers[0].env[1]: hides previous definition of \\"A\\", which may be dropped when using apply"'


def _pod(image: str = "i") -> api_server.Object:
    env = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": image, "env": env}]}}


def test_creates_and_updates_are_told() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.call("POST", ACCOUNTS, {"metadata": {"name": "default"}})
        dry = await api.call("POST", f"{PODS}?dryRun=All", _pod())
        assert (dry.code, dry.warnings) == (201, [HIDES])
        created = await api.call("POST", PODS, _pod())
        assert (created.code, created.warnings) == (201, [HIDES])
        template = {"metadata": {"labels": {"app": "d"}}, "spec": _pod()["spec"]}
        spec = {"selector": {"matchLabels": {"app": "d"}}, "template": template}
        await api.create(DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": spec})
        change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "j"}]}}}}
        patched = await api.patch(f"{DEPLOYMENTS}/d", change, "strategic")
        assert (patched.code, patched.warnings) == (200, [HIDES.replace("spec.", "spec.template.spec.")])
        labelled = await api.patch(f"{DEPLOYMENTS}/d", {"metadata": {"labels": {"a": "b"}}})
        assert (labelled.code, labelled.warnings) == (200, [])
        refused = await api.call("POST", PODS, {**_pod(), "metadata": {"name": "A"}})
        assert (refused.code, refused.warnings) == (422, [])

    api_server.run(scenario)


def test_what_is_too_long_together_is_cut_each() -> None:
    long = [f"{number:03}" + "x" * 1000 for number in range(30)]
    shown = [value for _, value in respond.warning_headers([*long, *long, ""])]
    assert [len(value) for value in shown] == [256 + len('299 - ""')] * 16
    assert shown[0].startswith('299 - "000x')
    (alone,) = respond.warning_headers(["y" * 4000, "y" * 4000])
    assert len(alone[1]) == 4000 + len('299 - ""')
