"""Registry and serving agree again, whoever else changed them meanwhile.

A folder has a lock under which both change. An object store and a cluster have none, so whoever
changes one looks again afterwards: of two at once, the one that ends last has seen both, and leaves
them agreeing. After a kill in between, the next change makes good for it.
"""

from __future__ import annotations

from .connection import Registry
from .deployments import OvertakenError, deployments, entries, standing
from .inference_service import Service, read_where
from .kserve import apply, manifest_of
from .object_store import ServingBucket, writing
from .promotion import promote, withdraw
from .serving_bucket import newest
from .versions import Version, version, versions


def settle_bucket(
    registry: Registry, product: str, bucket: ServingBucket, *, by: str, why: str = ""
) -> Version | None:
    """Make champion what a bucket's newest version holds, and return that.

    Args:
        registry: The registry.
        product: The product.
        bucket: Where TensorFlow Serving takes the newest version from.
        by: Who does it.
        why: Why; that it is served when empty.

    Returns:
        The champion; None where the newest version is none of the registry's.
    """
    while True:
        with writing(bucket):
            now = newest(bucket)
        digest = now.content_digest if now else ""
        found = next((one for one in versions(registry, product) if one.digest == digest), None)
        if now is None or found is None:
            return None
        try:
            where = f"{bucket.url}/{now.version}"
            # Whether it is blessed was seen to by who served it, for which there must be a reason.
            because = why or f"{where} is the newest there, so it is served."
            promote(
                *(registry, product, found.number),
                by=by,
                why=because,
                where=where,
                allow_unblessed=True,
            )
        except OvertakenError:
            continue
        with writing(bucket):
            if newest(bucket) == now:
                return found


def settle_service(registry: Registry, product: str, service: Service) -> None:
    """Have an InferenceService serve the champion alone, if that is what serves it.

    A challenger that had a part of the traffic has none then, which ends its trial.

    Raises:
        PenstockError: The cluster refuses, or the champion's files are not in the object store.
    """
    while True:
        live = deployments(entries(registry, product))
        if not live or read_where(live[-1].entry.where) != service:
            return
        entry = live[-1].entry
        apply(manifest_of(service, version(registry, product, entry.version)))
        log = entries(registry, product)
        if deployments(log)[-1].entry != entry:
            continue
        trials = [one for one in log if one.kind == "challenge"]
        if standing(log).challenger is None or read_where(trials[-1].where) != service:
            return
        try:
            withdraw(registry, product, by=entry.by, why=f"{entry.where} gives it no traffic.")
        except OvertakenError:
            continue
