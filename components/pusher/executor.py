"""A validated model's way to where it is served from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...data.digest import digest_path
from ...data.output import new_folder
from ...data.remote import is_url
from ...errors import PenstockError
from ...evaluation.blessing import Blessing
from ...evaluation.clearance import check_of_model, clearance, read_blessing_of
from ...evaluation.infra_blessing import InfraBlessing, read_infra_blessing, warmup_file
from ...models.loading import model_kind
from ...registry.connection import open_registry
from ...registry.inference_service import KServe, check_kind, read_kserve
from ...registry.object_store import ServingBucket, open_bucket
from ...registry.registration import register_version
from .places import Content, Pushed, push_to_bucket, push_to_folder, push_to_kserve
from .promotion import Promotion

MANIFEST = "inference_service.yaml"
Folder = str | os.PathLike[str]


def push(
    model: Folder,
    blessing: Folder | None,
    pushed_model: Folder,
    destination: str = "",
    *,
    infra_blessing: Folder | None = None,
    registry: str = "",
    product: str = "",
    pipeline: str = "",
    run: str = "",
    keep: int = 0,
    allow_unvalidated: bool = False,
    kserve: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Push the model to `destination/<version>/`, or register it as champion, or both.

    Content that some version holds already is not pushed again. Pushing from several processes at
    once is safe: each content gets one version of its own, and with a destination and a registry
    the champion is what is served.

    Args:
        model: The Model's folder.
        blessing: The Blessing's folder, of this very model; None to push without.
        pushed_model: The folder to write `pushed.json` into, also for a refusal.
        destination: The folder, or the URL in an object store, that TensorFlow Serving watches (its
            `base_path`); a relative folder starts at the working directory. Empty for none.
        infra_blessing: The InfraBlessing's folder, of this very model; its warm-up requests go into
            the version. None to push without.
        registry: A folder or the URI of an MLflow server; see `penstock.registry.connection`. Empty
            for none.
        product: The product, with a registry.
        pipeline: The pipeline, for the registry's record.
        run: The run, for the registry's record.
        keep: So many versions stay in the destination, and those with the content that the
            registry's aliases point to; 0 keeps all.
        allow_unvalidated: Push a model that nobody has validated, when neither blessing is given.
        kserve: How KServe serves the model from the object store; see
            `penstock.registry.inference_service.KServe`. None for not by KServe.

    Returns:
        The content of `pushed.json` and `summary`.

    Raises:
        PenstockError: A parameter is wrong; a blessing is missing, unreadable or of another model;
            the model is missing; or a destination cannot be written to. Nothing is pushed, or what
            was is said.
    """
    settings = read_kserve(kserve) if kserve else None
    _check(destination, registry, product, keep, settings)
    place = _place(destination)
    content, record, infra = _read(model, blessing, infra_blessing)
    if settings:
        check_kind(settings, content.kind)
    allowed, why = clearance(
        record, allow_unvalidated, component="pusher", done="Pushed", infra_blessing=infra
    )
    result = {
        "pushed": allowed,
        "reason": why,
        "destination": None,
        "version": None,
        "content_digest": None,
        "registered": None,
        "inference_service": None,
    }
    wanted = None
    if allowed:
        promotion = None
        if registry.strip():
            opened = open_registry(registry)
            made = register_version(opened, product, model, record, pipeline=pipeline, run=run)
            promotion = Promotion(opened, made, f"run {run}" if run else "", why)
            result["registered"] = made.number
        facts = {"product": product, "pipeline": pipeline, "run": run}
        pushed = _push(content, place, settings, promotion, keep, facts)
        result |= {
            "reason": pushed.reason,
            "destination": pushed.url or None,
            "version": pushed.version or None,
            "content_digest": content.digest,
            "inference_service": pushed.service or None,
        }
        wanted = pushed.wanted
    with new_folder(pushed_model) as work:
        text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
        (work / "pushed.json").write_text(text, encoding="utf-8")
        if wanted is not None:
            _write_manifest(work / MANIFEST, wanted)
    return {"summary": result["reason"], **result}


def _push(
    content: Content,
    place: Path | ServingBucket | None,
    settings: KServe | None,
    promotion: Promotion | None,
    keep: int,
    facts: dict[str, str],
) -> Pushed:
    if place is None:
        assert promotion is not None  # _check has seen to it
        return Pushed(0, "", promotion.carry_out(""))
    if isinstance(place, Path):
        return push_to_folder(content, place, promotion, keep)
    if settings is None:
        return push_to_bucket(content, place, promotion, keep)
    return push_to_kserve(content, place, settings, promotion, keep, facts)


def _check(
    destination: str, registry: str, product: str, keep: int, settings: KServe | None
) -> None:
    if not destination.strip() and not registry.strip():
        raise PenstockError(
            "There is nowhere to push to; give destination, the folder or URL that TensorFlow "
            "Serving watches, or registry and product, or both."
        )
    if bool(registry.strip()) != bool(product.strip()):
        raise PenstockError(
            f"registry is {registry!r} and product is {product!r}; give both or neither."
        )
    if keep < 0:
        raise PenstockError(f"keep is {keep}; give the number of versions to keep, or 0 for all.")
    if settings and not is_url(destination):
        raise PenstockError(
            f"KServe takes models from an object store, and destination is {destination!r}; give "
            "its URL, such as s3://models/flights."
        )


def _place(destination: str) -> Path | ServingBucket | None:
    if not destination.strip():
        return None
    if is_url(destination):
        return open_bucket(destination)
    folder = Path(destination).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise PenstockError(f"The destination {folder} is a file; give a folder.")
    return folder


def _read(
    model: Folder, blessing: Folder | None, infra_blessing: Folder | None
) -> tuple[Content, Blessing | None, InfraBlessing | None]:
    """Return what is to be pushed and the verdicts on it, held to be on this very model."""
    serving = Path(model) / "serving"
    if not serving.is_dir():
        raise PenstockError(f"There is no model at {serving}; give what the trainer wrote.")
    digest = digest_path(serving)
    record = read_blessing_of(blessing, model, digest)
    infra, warmup = None, None
    if infra_blessing is not None:
        infra = read_infra_blessing(infra_blessing)
        check_of_model(infra, model, digest)
        warmup = warmup_file(infra_blessing)
    kind = model_kind(serving)
    # Only TensorFlow Serving plays them.
    warmup = warmup if kind == "saved_model" else None
    return Content(serving, digest, kind, warmup), record, infra


def _write_manifest(file: Path, wanted: Mapping[str, Any]) -> None:
    import yaml

    file.write_text(yaml.safe_dump(dict(wanted), sort_keys=False), encoding="utf-8")
