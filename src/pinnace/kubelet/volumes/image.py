"""image: the files of an image, read-only. The image is looked for or pulled as those of containers are."""

from pinnace.kubelet.pod import model, podspec
from pinnace.kubelet.volumes import interface

KIND = "image"


class ImageVolumeError(interface.VolumeError):
    """The image is not to be had; `waiting` is what the containers that wait for it show."""

    def __init__(self, waiting: model.Waiting) -> None:
        super().__init__(waiting.message)
        self.waiting = waiting


async def mount(context: interface.Context, name: str, source: podspec.Object) -> interface.Volume:
    """Raises VolumeError."""
    if not source.get("reference"):
        raise interface.VolumeError("an image volume needs a reference")
    folder = context.folder(KIND, name)
    await context.show_image(source, folder)
    return interface.Volume(folder, read_only=True, no_exec=True, owns_files=False)
