"""The secrets that a pod names for pulling its images."""

import contextlib

from pinnace.kubelet.pod import dependencies, environment, podspec, references


async def find(pod: podspec.Object, shared: dependencies.Dependencies) -> list[podspec.Object]:
    """Those that exist; of the others an event tells."""
    found = []
    for entry in pod["spec"].get("imagePullSecrets") or ():
        reference = environment.Reference("secret", str(entry.get("name", "")))
        with contextlib.suppress(references.NotSynced):
            secret = await shared.references.get(podspec.namespace(pod), reference)
            if secret is not None:
                found.append(secret)
                continue
        text = f"Unable to retrieve some image pull secrets ({reference.name}); attempting to pull the image may not succeed."
        shared.recorder.warning(pod, "FailedToRetrieveImagePullSecret", text)
    return found
