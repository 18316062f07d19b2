"""The versions of a product's model: what each is, where it came from, how it was blessed."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..data.digest import digest_path
from ..errors import PenstockError
from ..evaluation.blessing import Blessing, read_forced
from .connection import Registry, check_product

TAG = "penstock."
PAGE = 1000


@dataclass(frozen=True)
class Version:
    """One version of a product's model.

    Attributes:
        product: The product.
        number: From 1, never used twice.
        digest: Of the servable model, as in its blessing.
        created: When it was registered, in UTC.
        blessing: The evaluator's verdict, of which `record` holds nothing here; None if there was
            none.
        metrics: What it was measured at over all rows, by name.
        facts: Where it came from: digests of examples, schema and code, spans, pipeline, run.
        source: Where MLflow keeps its files.
        tracking_run: MLflow's run with its files and metrics.
    """

    product: str
    number: int
    digest: str
    created: datetime
    blessing: Blessing | None
    metrics: Mapping[str, float]
    facts: Mapping[str, Any]
    source: str
    tracking_run: str

    def stands(self, now: datetime | None = None) -> tuple[bool, str]:
        """Return whether it is blessed, at a time or now, and why, in words."""
        if self.blessing is None:
            return False, "It was registered without a blessing."
        return self.blessing.stands(now)


def products(registry: Registry) -> list[str]:
    """Return the names of all products, sorted."""
    names, token = [], None
    with registry.asking("list its products"):
        while True:
            page = registry.client.search_registered_models(max_results=PAGE, page_token=token)
            names += [m.name for m in page if m.tags.get(f"{TAG}kind") == "product"]
            token = page.token
            if not token:
                return sorted(names)


def versions(registry: Registry, product: str) -> list[Version]:
    """Return all versions of a product, ascending; none for a product that is not there."""
    found = raw_versions(registry, check_product(product))
    return [_version(raw) for raw in found if f"{TAG}digest" in raw.tags]


def version(registry: Registry, product: str, number: int) -> Version:
    """Return one version of a product.

    Raises:
        PenstockError: There is none of this number.
    """
    found = {one.number: one for one in versions(registry, product)}
    if number in found:
        return found[number]
    there = ", ".join(map(str, found)) or "none"
    raise PenstockError(
        f"{product} has no version {number} in the registry at {registry.where} (it has {there}); "
        "give one of these."
    )


def make_registered(registry: Registry, name: str, kind: str, description: str = "") -> None:
    """Make MLflow's registered model of this name, a `product` or its `deployments`, if need be."""
    from mlflow.exceptions import MlflowException

    try:
        registry.client.create_registered_model(
            name, tags={f"{TAG}kind": kind}, description=description or None
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def raw_versions(registry: Registry, name: str) -> list[Any]:
    """Return MLflow's versions of a registered model, ascending."""
    found, token = [], None
    with registry.asking(f"list the versions of {name}"):
        while True:
            page = registry.client.search_model_versions(
                f"name='{name}'", max_results=PAGE, page_token=token
            )
            found += list(page)
            token = page.token
            if not token:
                return sorted(found, key=lambda raw: int(raw.version))


def fetch_version(registry: Registry, version: Version, folder: str | os.PathLike[str]) -> None:
    """Copy a version's files, the Model artifact as it was registered, into an empty folder.

    Raises:
        PenstockError: The files are gone, or are not what was registered.
    """
    target = Path(folder)
    what = f"version {version.number} of {version.product}"
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        try:
            with registry.asking(f"give out {what}"):
                registry.client.download_artifacts(version.tracking_run, "model", work)
        except OSError as error:
            raise PenstockError(
                f"The files of {what} could not be read ({error}); see whether {version.source} "
                "is still there."
            ) from error
        got = Path(work) / "model"
        if not (got / "serving").is_dir() or digest_path(got / "serving") != version.digest:
            raise PenstockError(
                f"The files of {what} at {version.source} are not those that were registered "
                f"({version.digest}); restore them, or promote another version."
            )
        target.mkdir(exist_ok=True)
        for part in got.iterdir():
            part.rename(target / part.name)


def _version(raw: Any) -> Version:
    tags = {key.removeprefix(TAG): value for key, value in raw.tags.items() if key.startswith(TAG)}
    return Version(
        product=raw.name,
        number=int(raw.version),
        digest=tags["digest"],
        created=datetime.fromtimestamp(raw.creation_timestamp / 1000, timezone.utc),
        blessing=_blessing(tags),
        metrics=json.loads(tags.get("metrics", "{}")),
        facts=json.loads(tags.get("facts", "{}")),
        source=raw.source,
        tracking_run=raw.run_id,
    )


def _blessing(tags: Mapping[str, str]) -> Blessing | None:
    if "blessed" not in tags:
        return None
    forced = json.loads(tags["forced"])
    return Blessing(
        blessed=tags["blessed"] == "true",
        reason=tags["reason"],
        model_digest=tags["digest"],
        forced=read_forced(forced) if forced else None,
        record={},
    )
