"""A trained model becomes a version of its product."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data.digest import digest_path
from ..errors import PenstockError
from ..evaluation.blessing import Blessing
from ..evaluation.clearance import check_of_model
from .connection import ARTIFACTS, Registry, check_product
from .versions import TAG, Version, make_registered, version, versions

# What the registry keeps of a Model artifact is all but the logs that the author's code left.
LEFT_OUT = "run"


def register_version(
    registry: Registry,
    product: str,
    model: str | os.PathLike[str],
    blessing: Blessing | None = None,
    *,
    pipeline: str = "",
    run: str = "",
) -> Version:
    """Make a model a version of its product; one that is there already is that version.

    The files are copied to where MLflow keeps artifacts, so that the registry does not lose them
    with the run. The version is made last: after a kill at any moment it is there whole or not.

    Args:
        registry: The registry.
        product: The product, such as `flights`.
        model: The Model artifact's folder.
        blessing: Its blessing; for a version that is there already, the newer one replaces the
            older one.
        pipeline: The pipeline that made it.
        run: The run that made it, for the lineage.

    Raises:
        PenstockError: There is no model, the blessing is another model's, or the registry refused.
    """
    check_product(product)
    folder = Path(model)
    serving = folder / "serving"
    if not serving.is_dir():
        raise PenstockError(
            f"There is no model at {folder}: {serving.name}/ is missing; give the folder that the "
            "trainer wrote."
        )
    digest = digest_path(serving)
    check_of_model(blessing, folder, digest)
    facts = {**_provenance(folder), "pipeline": pipeline, "run": run}
    with registry.writing():
        found = _with_digest(registry, product, digest)
        if found is None:
            number = _add(registry, product, folder, digest, facts, blessing)
            return version(registry, product, number)
        if blessing is None:
            return found
        with registry.asking(f"note the blessing of version {found.number} of {product}"):
            for key, value in _tags(blessing).items():
                registry.client.set_model_version_tag(product, str(found.number), key, value)
    return version(registry, product, found.number)


def _with_digest(registry: Registry, product: str, digest: str) -> Version | None:
    return next((one for one in versions(registry, product) if one.digest == digest), None)


def _add(
    registry: Registry,
    product: str,
    folder: Path,
    digest: str,
    facts: Mapping[str, Any],
    blessing: Blessing | None,
) -> int:
    """Copy the files, make the version last, and return its number."""
    client = registry.client
    with registry.asking(f"register a model of {product}"):
        make_registered(registry, product, "product")
        tracked = client.create_run(_experiment(registry, product), run_name=facts["run"] or None)
        for name, value in _metrics(blessing).items():
            client.log_metric(tracked.info.run_id, name, value)
        for name, value in (facts.get("hyperparameters") or {}).items():
            client.log_param(tracked.info.run_id, name, value)
        with tempfile.TemporaryDirectory() as work:
            copy = Path(work) / "model"
            shutil.copytree(folder, copy, ignore=_left_out(folder))
            client.log_artifacts(tracked.info.run_id, str(copy), "model")
        client.set_terminated(tracked.info.run_id)
        made = client.create_model_version(
            product,
            f"{tracked.info.artifact_uri}/model",
            tracked.info.run_id,
            tags={
                f"{TAG}digest": digest,
                f"{TAG}facts": json.dumps(facts),
                **(_tags(blessing) if blessing else {}),
            },
        )
        first = _with_digest(registry, product, digest)
        if first is not None and first.number < int(made.version):
            # On a server, another process may have registered the same model meanwhile.
            client.delete_model_version(product, made.version)
            return first.number
    return int(made.version)


def _experiment(registry: Registry, product: str) -> str:
    """Return MLflow's experiment for the product, made if it is not there."""
    from mlflow.exceptions import MlflowException

    name = f"penstock/{product}"
    found = registry.client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    place = None if registry.folder is None else str(registry.folder / ARTIFACTS / product)
    try:
        return str(registry.client.create_experiment(name, artifact_location=place))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return str(registry.client.get_experiment_by_name(name).experiment_id)


def _left_out(folder: Path) -> Any:
    def ignore(place: str, names: list[str]) -> list[str]:
        return [LEFT_OUT] if Path(place) == folder and LEFT_OUT in names else []

    return ignore


def _tags(blessing: Blessing) -> dict[str, str]:
    forced = blessing.forced.as_record() if blessing.forced else None
    return {
        f"{TAG}blessed": "true" if blessing.blessed else "false",
        f"{TAG}reason": blessing.reason,
        f"{TAG}forced": json.dumps(forced),
        f"{TAG}metrics": json.dumps(_metrics(blessing)),
    }


def _metrics(blessing: Blessing | None) -> dict[str, float]:
    """Return what the blessing's checks measured over all rows, changes left out."""
    checks = blessing.record.get("checks", []) if blessing else []
    return {
        check["metric"]: float(check["value"])
        for check in checks
        if check["of"] == "value" and not check["slice"] and check["value"] is not None
    }


def _provenance(folder: Path) -> dict[str, Any]:
    file = folder / "model.json"
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is no object")
    except ValueError as error:
        raise PenstockError(
            f"{file} is not what the trainer wrote ({error}); give the folder that it wrote."
        ) from error
    return content
