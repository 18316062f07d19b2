"""A blessed model's way to where it is served from."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.digest import digest_path
from ...data.output import new_folder
from ...errors import PenstockError
from ...evaluation.blessing import Blessing, read_blessing
from ...registry.connection import Registry, open_registry
from ...registry.deployments import entries, standing
from ...registry.promotion import ALIASES, promote
from ...registry.registration import register_version
from ...registry.serving_folder import (
    locked,
    next_version,
    publish,
    remove_old,
    staged,
    version_with,
    versions,
)
from ...registry.versions import Version
from ...registry.versions import versions as registered_versions


def push(
    model: str | os.PathLike[str],
    blessing: str | os.PathLike[str] | None,
    pushed_model: str | os.PathLike[str],
    destination: str = "",
    *,
    registry: str = "",
    product: str = "",
    pipeline: str = "",
    run: str = "",
    keep: int = 0,
    allow_unvalidated: bool = False,
) -> dict[str, Any]:
    """Push the model to `destination/<version>/`, or register it as champion, or both.

    Content that some version holds already is not pushed again. Pushing from several processes at
    once is safe: each content gets one version of its own, and with a folder and a registry the
    champion is what the folder's newest version holds.

    Args:
        model: The Model's folder.
        blessing: The Blessing's folder, of this very model; None to push without.
        pushed_model: The folder to write `pushed.json` into, also for a refusal.
        destination: The folder that TensorFlow Serving watches (its `base_path`); a relative one
            starts at the working directory. Empty for none.
        registry: A folder or the URI of an MLflow server; see `penstock.registry.connection`. Empty
            for none.
        product: The product, with a registry.
        pipeline: The pipeline, for the registry's record.
        run: The run, for the registry's record.
        keep: So many versions stay in the destination, and those with the content that the
            registry's aliases point to; 0 keeps all.
        allow_unvalidated: Push a model that nobody has evaluated, when `blessing` is None.

    Returns:
        The content of `pushed.json` and `summary`.

    Raises:
        PenstockError: A parameter is wrong; the blessing is missing, unreadable or of another
            model; the model is missing; or a destination cannot be written to. Nothing is pushed.
    """
    _check(destination, registry, product, keep)
    folder = _destination(destination) if destination.strip() else None
    serving = Path(model) / "serving"
    if not serving.is_dir():
        raise PenstockError(f"There is no model at {serving}; give what the trainer wrote.")
    digest = digest_path(serving)
    record = _read(blessing, model, digest)
    allowed, why = _allowed(record, allow_unvalidated)
    result = {
        "pushed": allowed,
        "reason": why,
        "destination": None,
        "version": None,
        "content_digest": None,
        "registered": None,
    }
    if allowed:
        promotion = None
        if registry.strip():
            opened = open_registry(registry)
            made = register_version(opened, product, model, record, pipeline=pipeline, run=run)
            promotion = _Promotion(opened, made, f"run {run}" if run else "", why)
        result |= _push(serving, digest, folder, promotion, keep)
    with new_folder(pushed_model) as work:
        text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
        (work / "pushed.json").write_text(text, encoding="utf-8")
    return {"summary": result["reason"], **result}


@dataclass(frozen=True)
class _Promotion:
    """What the registry is told once the model is about to be in its place."""

    registry: Registry
    version: Version
    by: str
    why: str

    @property
    def reason(self) -> str:
        """Say what it comes to."""
        return f"Version {self.version.number} of {self.version.product} is champion."

    def carry_out(self, where: str) -> None:
        """Make the version champion; that it is blessed has been seen to."""
        promote(
            self.registry,
            self.version.product,
            self.version.number,
            by=self.by,
            why=self.why,
            where=where,
            allow_unblessed=True,
        )

    def needed(self) -> set[str]:
        """Return the digests of the versions that an alias points to."""
        now = standing(entries(self.registry, self.version.product))
        numbers = {getattr(now, alias) for alias in ALIASES}
        return {
            one.digest
            for one in registered_versions(self.registry, self.version.product)
            if one.number in numbers
        }


def _push(
    serving: Path, digest: str, destination: Path | None, promotion: _Promotion | None, keep: int
) -> dict[str, Any]:
    registered = promotion.version.number if promotion else None
    if destination is None:
        assert promotion is not None  # _check has seen to it
        promotion.carry_out("")
        return {"reason": promotion.reason, "content_digest": digest, "registered": registered}
    with locked(destination):
        number, reason = _into_folder(serving, digest, destination, promotion)
        needed = promotion.needed() if promotion else set()
        removed = remove_old(destination, keep, needed) if keep else []
    if removed:
        reason += f" Removed version{'s'[: len(removed) > 1]} {', '.join(map(str, removed))}."
    return {
        "reason": reason,
        "destination": str(destination / str(number)),
        "version": number,
        "content_digest": digest,
        "registered": registered,
    }


def _into_folder(
    serving: Path, digest: str, destination: Path, promotion: _Promotion | None
) -> tuple[int, str]:
    """Have the destination hold the model; return its version there and what to say."""
    number = version_with(destination, digest)
    if number is None:
        with staged(destination, serving, digest) as work:
            # The champion is named before the folder shows it: only a rename can be missing after
            # a kill, and pushing again makes good for it.
            if promotion:
                promotion.carry_out(str(destination / str(next_version(destination))))
            number = publish(destination, work, digest)
        reason = f"Pushed as version {number} to {destination / str(number)}."
    else:
        newest = versions(destination)[-1]
        reason = f"{destination} holds this model already, as version {number}."
        if newest > number:
            return number, (
                f"{reason} Version {newest} is newer and is what TensorFlow Serving loads; to "
                "serve this one again, roll back to it."
            )
        if promotion:
            promotion.carry_out(str(destination / str(number)))
    return number, f"{reason} {promotion.reason}" if promotion else reason


def _check(destination: str, registry: str, product: str, keep: int) -> None:
    if not destination.strip() and not registry.strip():
        raise PenstockError(
            "There is nowhere to push to; give destination, the folder that TensorFlow Serving "
            "watches, or registry and product, or both."
        )
    if bool(registry.strip()) != bool(product.strip()):
        raise PenstockError(
            f"registry is {registry!r} and product is {product!r}; give both or neither."
        )
    if keep < 0:
        raise PenstockError(f"keep is {keep}; give the number of versions to keep, or 0 for all.")


def _destination(destination: str) -> Path:
    if "://" in destination:
        raise PenstockError(
            f"The destination {destination!r} is a URL, and this version pushes to local folders "
            "only; give the path of one, such as a mounted volume."
        )
    folder = Path(destination).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise PenstockError(f"The destination {folder} is a file; give a folder.")
    return folder


def _read(
    blessing: str | os.PathLike[str] | None, model: str | os.PathLike[str], digest: str
) -> Blessing | None:
    if blessing is None:
        return None
    record = read_blessing(blessing)
    if record.model_digest != digest:
        raise PenstockError(
            f"The blessing at {blessing} is of another model ({record.model_digest}) than the "
            f"one at {model} ({digest}); evaluate this model and push it with its own blessing."
        )
    return record


def _allowed(record: Blessing | None, allow_unvalidated: bool) -> tuple[bool, str]:
    """Return whether the model may be pushed, and why."""
    if record is not None:
        stands, reason = record.stands()
        return stands, reason if stands else f"The model is not blessed: {reason}"
    if allow_unvalidated:
        return True, "Pushed without validation, as allow_unvalidated says."
    return False, (
        "The model was not validated: no blessing is wired to the pusher; wire the evaluator's, or "
        "set allow_unvalidated."
    )
