"""What a pod is told of a pull that failed."""

import asyncio

import pytest

from pinnace.engine import interface
from pinnace.kubelet.pod import images, model
from pinnace.testing import clock, fake_engine


class Recorder:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def warning(self, _pod: object, reason: str, message: str, *, field_path: str) -> None:
        self.told.append((reason, message))

    normal = warning


@pytest.mark.parametrize(("is_present", "name"), [(True, "nginx"), (False, "nginx")])
def test_an_image_that_is_there_is_pointed_at_when_its_pull_fails(is_present: bool, name: str) -> None:
    """Without a tag the policy is Always: the pull fails off-line as upstream's does, and the error says how to use what was loaded."""

    async def main() -> tuple[model.ImageState, Recorder]:
        time = clock.VirtualClock()
        host = fake_engine.FakeHost(time)
        if is_present:
            host.add_image(name)
        host.failures["pull"] = interface.ImageError("no route to the registry")
        recorder = Recorder()
        under_test = images.Images(fake_engine.FakeEngine(host), recorder, time)  # type: ignore[arg-type]
        pod = {"metadata": {"uid": "u", "name": "p"}, "spec": {"containers": [{"name": "c", "image": name}]}}
        container = {"name": "c", "image": name, "imagePullPolicy": "Always"}
        return await under_test.ensure(pod, container, ()), recorder

    state, recorder = asyncio.run(main())
    assert isinstance(state, model.ImageFailed)
    assert state.error.reason == "ErrImagePull"
    assert state.error.message.startswith("no route to the registry")
    for told in (state.error.message, recorder.told[1][1]):
        assert ("imagePullPolicy: IfNotPresent" in told) is is_present
        assert ("tag other than latest" in told) is is_present
    assert recorder.told[2] == ("Failed", "Error: ErrImagePull")
