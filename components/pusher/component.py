from typing import NamedTuple

from kfp import dsl

from ..artifacts import Blessing, Model, PushedModel
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def pusher(
    model: dsl.Input[Model],
    pushed_model: dsl.Output[PushedModel],
    blessing: dsl.Input[Blessing] = None,
    destination: str = "",
    registry: str = "",
    product: str = "",
    pipeline: str = "",
    run: str = "",
    keep: int = 0,
    allow_unvalidated: bool = False,
) -> NamedTuple("Outputs", [("pushed", bool), ("reason", str)]):  # type: ignore[valid-type]
    """Push a blessed model to a folder that TensorFlow Serving watches, or to a registry, or both.

    A model that is not blessed is refused: the step succeeds and `reason` says why. So is one
    without a blessing, unless `allow_unvalidated`. A version appears whole or not at all, and
    pushing the same content twice is one version.

    Args:
        model: The exported model.
        blessing: The blessing of this very model.
        destination: The folder that TensorFlow Serving watches; versions are numbered from 1.
        registry: A folder or the URI of an MLflow server; the model becomes a version of `product`
            there and its champion.
        product: The product, such as `flights`.
        pipeline: The pipeline's name, for the registry's record.
        run: The run, for the registry's record, such as `dsl.PIPELINE_JOB_ID_PLACEHOLDER`.
        keep: So many versions stay in the destination, and those that the registry's aliases point
            to; 0 keeps all.
        allow_unvalidated: Push a model without a blessing.

    Returns:
        pushed_model: `pushed.json`: destination, version and content digest, or the refusal.
        pushed: Whether the destination holds the model now.
        reason: Where it lies, or why it was refused.
    """
    from penstock.components.pusher.executor import push

    result = push(
        model.path,
        blessing.path if blessing else None,
        pushed_model.path,
        destination,
        registry=registry,
        product=product,
        pipeline=pipeline,
        run=run,
        keep=keep,
        allow_unvalidated=allow_unvalidated,
    )
    pushed_model.metadata.update(result)
    Outputs = NamedTuple("Outputs", [("pushed", bool), ("reason", str)])
    return Outputs(result["pushed"], result["reason"])
