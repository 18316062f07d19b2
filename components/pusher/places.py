"""Where a model is pushed to: a folder, an object store, or a cluster with KServe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...clusters import NoClusterError
from ...errors import PenstockError
from ...registry.agreement import settle_bucket, settle_service
from ...registry.inference_service import VERSION, KServe, Service, facts_of, manifest
from ...registry.kserve import apply, read_service, settled
from ...registry.object_store import ServingBucket, writing
from ...registry.serving_bucket import publish as publish_to_bucket
from ...registry.serving_bucket import remove_old as remove_from_bucket
from ...registry.serving_bucket import versions as bucket_versions
from ...registry.serving_folder import (
    locked,
    next_version,
    publish,
    remove_old,
    staged,
    version_with,
    versions,
)
from .promotion import Promotion


@dataclass(frozen=True)
class Content:
    """What is pushed.

    Attributes:
        folder: The servable model.
        digest: Of it.
        kind: Of it, as in `penstock.models`.
        warmup: Warm-up requests to put in; None for none.
    """

    folder: Path
    digest: str
    kind: str
    warmup: Path | None


@dataclass(frozen=True)
class Pushed:
    """Where the model lies now.

    Attributes:
        version: Its number there.
        url: The folder or URL.
        reason: What was done, in words.
        service: The InferenceService that was applied; empty for none.
        wanted: The InferenceService that serves it; None without KServe.
    """

    version: int
    url: str
    reason: str
    service: str = ""
    wanted: dict[str, Any] | None = None


def push_to_folder(
    content: Content, folder: Path, promotion: Promotion | None, keep: int
) -> Pushed:
    """Have a folder hold the model as a version, and the champion be what its newest one holds."""
    with locked(folder):
        number, reason = _into_folder(content, folder, promotion)
        needed = promotion.needed() if promotion else set()
        removed = remove_old(folder, keep, needed) if keep else []
    return Pushed(number, str(folder / str(number)), reason + _removed(removed))


def _into_folder(content: Content, folder: Path, promotion: Promotion | None) -> tuple[int, str]:
    number = version_with(folder, content.digest)
    if number is None:
        with staged(folder, content.folder, content.digest, warmup=content.warmup) as work:
            # The champion is named before the folder shows it: only a rename can be missing after
            # a kill, and pushing again makes good for it.
            if promotion:
                promotion.carry_out(str(folder / str(next_version(folder))))
            number = publish(folder, work, content.digest)
        reason = f"Pushed as version {number} to {folder / str(number)}."
    else:
        reason = f"{folder} holds this model already, as version {number}."
        newest = versions(folder)[-1]
        if newest > number:
            return number, f"{reason} {_newer(newest)}"
        if promotion:
            promotion.carry_out(str(folder / str(number)))
    return number, f"{reason} {promotion.reason}" if promotion else reason


def push_to_bucket(
    content: Content, bucket: ServingBucket, promotion: Promotion | None, keep: int
) -> Pushed:
    """Have an object store hold the model as a version; then the champion is the newest there."""
    claim, there = publish_to_bucket(bucket, content.folder, content.digest, warmup=content.warmup)
    url = f"{bucket.url}/{claim.folder}"
    reason = _said(bucket, claim.version, url, there)
    with writing(bucket):
        newest = max(claim.version, *bucket_versions(bucket))
    if newest > claim.version:
        reason += f" {_newer(newest)}"
    if promotion:
        product, by = promotion.version.product, promotion.by
        why = promotion.why if newest == claim.version else ""
        champion = settle_bucket(promotion.registry, product, bucket, by=by, why=why)
        if champion is not None and champion.number == promotion.version.number:
            reason += f" {promotion.reason}"
    removed = _remove_from_bucket(bucket, keep, promotion)
    return Pushed(claim.version, url, reason + removed)


def push_to_kserve(
    content: Content,
    bucket: ServingBucket,
    settings: KServe,
    promotion: Promotion | None,
    keep: int,
    facts: dict[str, str],
) -> Pushed:
    """Have an object store hold the model, and KServe serve it, if there is a cluster."""
    claim, there = publish_to_bucket(
        bucket, content.folder, content.digest, warmup=content.warmup, for_kserve=True
    )
    url = f"{bucket.url}/{claim.version}/"
    reason = _said(bucket, claim.version, url, there)
    if promotion:
        facts = facts_of(promotion.version)
    try:
        settings = settled(settings)
    except NoClusterError as error:
        wanted = manifest(settings, bucket.url, claim, content.kind, facts=facts)
        reason += f" inference_service.yaml was written and not applied: {error}"
        return Pushed(claim.version, url, reason, wanted=wanted)
    try:
        now = read_service(settings.namespace, settings.name)
        settings = replace(settings, canary_traffic_percent=_canary(settings, now, claim.version))
        wanted = manifest(settings, bucket.url, claim, content.kind, facts=facts)
        service = Service(settings.namespace, settings.name, bucket.url)
        told = _serve(service, wanted, claim.version, promotion)
    except PenstockError as error:
        raise PenstockError(
            f"{error} The model lies ready at {url}; push it again when that is mended."
        ) from error
    removed = _remove_from_bucket(bucket, keep, promotion)
    name = f"{service.namespace}/{service.name}"
    return Pushed(claim.version, url, f"{reason} {told}{removed}", name, wanted)


def _serve(
    service: Service, wanted: dict[str, Any], version: int, promotion: Promotion | None
) -> str:
    """Apply an InferenceService, the registry being told before; return what it came to."""
    share = wanted["spec"]["predictor"].get("canaryTrafficPercent")
    told = (
        f"The InferenceService {service.namespace}/{service.name} gives it "
        f"{'all' if share is None else f'{share}%'} of the traffic."
    )
    # Whether the cluster takes it shows before anybody is told that it is champion.
    apply(wanted, dry_run=True)
    if promotion:
        on_trial = share is not None
        told += " " + promotion.carry_out(service.where(version), on_trial=on_trial)
    apply(wanted)
    if promotion and share is None:
        settle_service(promotion.registry, promotion.version.product, service)
    return told


def _canary(settings: KServe, now: dict[str, Any] | None, version: int) -> int | None:
    """Return the share of the traffic that a new version is given; None for all.

    The first version has nobody to share with, and one that has all of it already keeps it.
    """
    share = settings.canary_traffic_percent
    if now is None or share is None or share == 100:
        return None
    live = now["metadata"].get("annotations", {}).get(VERSION) == str(version)
    whole = "canaryTrafficPercent" not in now["spec"]["predictor"]
    return None if live and whole else share


def _said(bucket: ServingBucket, version: int, url: str, there: bool) -> str:
    if there:
        return f"{bucket.url} holds this model already, as version {version}."
    return f"Pushed as version {version} to {url}."


def _newer(newest: int) -> str:
    return (
        f"Version {newest} is newer and is what TensorFlow Serving loads; to serve this one again, "
        "roll back to it."
    )


def _remove_from_bucket(bucket: ServingBucket, keep: int, promotion: Promotion | None) -> str:
    if not keep:
        return ""
    return _removed(remove_from_bucket(bucket, keep, promotion.needed() if promotion else set()))


def _removed(numbers: list[int]) -> str:
    if not numbers:
        return ""
    return f" Removed version{'s'[: len(numbers) > 1]} {', '.join(map(str, numbers))}."
