from typing import NamedTuple

from kfp import dsl

from ..artifacts import Blessing, Model, PushedModel
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def pusher(
    model: dsl.Input[Model],
    blessing: dsl.Input[Blessing],
    pushed_model: dsl.Output[PushedModel],
    destination: str,
) -> NamedTuple("Outputs", [("pushed", bool), ("reason", str)]):  # type: ignore[valid-type]
    """Push a blessed model to a folder as a version that TensorFlow Serving loads.

    A model that is not blessed is refused: the step succeeds and `reason` says why. A version
    appears whole or not at all, and pushing the same content twice is one version.

    Args:
        model: The exported model.
        blessing: The blessing of this very model.
        destination: The folder that TensorFlow Serving watches; versions are numbered from 1.

    Returns:
        pushed_model: `pushed.json`: destination, version and content digest, or the refusal.
        pushed: Whether the destination holds the model now.
        reason: Where it lies, or why it was refused.
    """
    from penstock.components.pusher.executor import push

    result = push(model.path, blessing.path, pushed_model.path, destination)
    pushed_model.metadata.update(result)
    Outputs = NamedTuple("Outputs", [("pushed", bool), ("reason", str)])
    return Outputs(result["pushed"], result["reason"])
