from typing import Any, Dict, NamedTuple, Optional

from kfp import dsl

from ..artifacts import Blessing, InfraBlessing, Model, PushedModel
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def pusher(
    model: dsl.Input[Model],
    pushed_model: dsl.Output[PushedModel],
    blessing: dsl.Input[Blessing] = None,
    infra_blessing: dsl.Input[InfraBlessing] = None,
    destination: str = "",
    registry: str = "",
    product: str = "",
    pipeline: str = "",
    run: str = "",
    keep: int = 0,
    allow_unvalidated: bool = False,
    kserve: Optional[Dict[str, Any]] = None,
) -> NamedTuple("Outputs", [("pushed", bool), ("reason", str)]):  # type: ignore[valid-type]
    """Push a validated model to where it is served from, or to a registry, or both.

    A model that a given blessing refuses is not pushed: the step succeeds and `reason` says why. So
    is one without any blessing, unless `allow_unvalidated`. A version appears whole or not at all,
    and pushing the same content twice is one version.

    Args:
        model: The exported model.
        blessing: The evaluator's blessing of this very model.
        infra_blessing: The infra_validator's blessing of this very model; its warm-up requests go
            into the version.
        destination: The folder, or the URL in an object store, that TensorFlow Serving watches;
            versions are numbered from 1.
        registry: A folder or the URI of an MLflow server; the model becomes a version of `product`
            there and its champion.
        product: The product, such as `flights`.
        pipeline: The pipeline's name, for the registry's record.
        run: The run, for the registry's record, such as `dsl.PIPELINE_JOB_ID_PLACEHOLDER`.
        keep: So many versions stay in the destination, and those that the registry's aliases point
            to; 0 keeps all.
        allow_unvalidated: Push a model without any blessing.
        kserve: How KServe serves the model from the object store: `name` of the InferenceService,
            and `namespace`, `canary_traffic_percent`, `runtime`, `service_account`, `resources` and
            more, as the README says. Nothing for not by KServe.

    Returns:
        pushed_model: `pushed.json`: destination, version and content digest, or the refusal; with
            `kserve` also `inference_service.yaml`.
        pushed: Whether the destination holds the model now.
        reason: Where it lies, or why it was refused.
    """
    from penstock.components.pusher.executor import push

    result = push(
        model.path,
        blessing.path if blessing else None,
        pushed_model.path,
        destination,
        infra_blessing=infra_blessing.path if infra_blessing else None,
        registry=registry,
        product=product,
        pipeline=pipeline,
        run=run,
        keep=keep,
        allow_unvalidated=allow_unvalidated,
        kserve=kserve,
    )
    pushed_model.metadata.update(result)
    Outputs = NamedTuple("Outputs", [("pushed", bool), ("reason", str)])
    return Outputs(result["pushed"], result["reason"])
