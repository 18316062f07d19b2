"""Which container image a component runs in."""

import os

from .. import __version__

DEFAULT_REGISTRY = "localhost/penstock"


def image(name: str) -> str:
    """Return the image reference for `name`, tagged with the library's version.

    KFP keys its cache on the image string, so the tag never moves: it is the version. The
    environment variable `PENSTOCK_IMAGE_<NAME>` replaces the whole reference and
    `PENSTOCK_IMAGE_REGISTRY` only the part before the name; both are read when a component module
    is imported, which is when a pipeline is compiled. A single task can also be given another
    image with `task.set_container_image(...)`.

    Args:
        name: `"components"` or `"control"`: what `images/build.sh` builds.

    Returns:
        A reference such as `localhost/penstock/components:0.1.0`.
    """
    override = os.environ.get(f"PENSTOCK_IMAGE_{name.upper().replace('-', '_')}")
    if override:
        return override
    registry = os.environ.get("PENSTOCK_IMAGE_REGISTRY", DEFAULT_REGISTRY).rstrip("/")
    return f"{registry}/{name}:{__version__}"
