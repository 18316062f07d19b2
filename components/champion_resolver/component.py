from typing import NamedTuple

from kfp import dsl

from ..artifacts import Blessing, Model
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def champion_resolver(
    champion: dsl.Output[Model],
    blessing: dsl.Output[Blessing],
    registry: str,
    product: str,
    which: str = "champion",
    as_of: str = "",
) -> NamedTuple("Outputs", [("found", bool), ("version", int), ("reason", str)]):  # type: ignore[valid-type]
    """Find the model that is in use, or another one that the registry knows, and fetch it.

    "None yet" is an answer, not a failure: the step succeeds, and the artifact says that there is
    none, which the evaluator understands.

    Args:
        registry: A folder or the URI of an MLflow server.
        product: The product, such as `flights`.
        which: `champion`, `previous`, `challenger`, or `latest_blessed`.
        as_of: As it was at this time, in ISO 8601 with a time zone; now when empty.

    Returns:
        champion: The model as it was registered, or `none.json`.
        blessing: What the registry noted of the blessing that it was registered with, for what asks
            for one, such as the bulk_inferrer; not blessed if there is no model.
        found: Whether there is one.
        version: Its version in the registry; 0 if there is none.
        reason: In words.
    """
    from penstock.components.champion_resolver.executor import resolve_champion

    result = resolve_champion(champion.path, blessing.path, registry, product, which, as_of)
    champion.metadata.update(result)
    Outputs = NamedTuple("Outputs", [("found", bool), ("version", int), ("reason", str)])
    return Outputs(not result["none"], result["version"], result["summary"])
