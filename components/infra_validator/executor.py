"""Whether the exported model can be served: asked in a process of its own, held to a policy."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...data.digest import digest_path
from ...data.examples import field_steps, iter_shard, read_manifest, read_schema, shard_paths
from ...data.output import new_folder
from ...data.schemas import load_schema
from ...errors import PenstockError
from ...evaluation.infra_blessing import FILE, PAGE, WARMUP
from ...models.inquiry import ROWS, Task
from ...models.inquiry import WARMUP as REQUESTS
from ...models.loading import model_kind
from ...models.model import is_import_path
from ...models.transform_graph import Kind
from ...schemas.features import dotted, environments, is_in, is_validated, type_name, walk_features
from .checks import Check, checks_of
from .page import render
from .policy import Policy, read_policy
from .process import Outcome, ask_in_process
from .record import markdown, record_of

_SERVING = "SERVING"
_KINDS: dict[str, Kind] = {"BYTES": "string", "INT": "integer", "FLOAT": "float"}
# What makes a model, and is not there where one is served.
_ABSENT = (
    *(f"penstock.{room}" for room in ("cli", "components", "orchestration", "pipelines")),
    *("penstock.training", "kfp", "apache_beam", "mlflow", "optuna"),
    *("tensorflow_data_validation", "tensorflow_model_analysis"),
)


def validate_infra(
    model: str | os.PathLike[str],
    examples: str | os.PathLike[str],
    schema: str | os.PathLike[str],
    infra_blessing: str | os.PathLike[str],
    report: str | os.PathLike[str],
    split: str = "eval",
    policy: Mapping[str, Any] | str | None = None,
) -> dict[str, Any]:
    """Ask the exported model in a process of its own, and write an InfraBlessing.

    Whatever the model does there is a finding: that it does not load, hangs, or takes the process
    down included.

    Args:
        model: Folder of the Model.
        examples: Folder of the Examples, whose rows are sent.
        schema: Folder of the Schema: what a server is sent, and what of it may be missing.
        infra_blessing: Where to write.
        report: Where to write the page once more.
        split: Which split of the examples.
        policy: Budgets and rules; see `read_policy`.

    Returns:
        `blessed`, `reason`, `markdown` (the verdict for Kubeflow's UI) and `metadata` (`summary`,
        `blessed`, `checks`, `failed_checks`).

    Raises:
        PenstockError: The policy is wrong, or there is no model, no examples, no such split or no
            schema. Nothing is written.
    """
    rules = read_policy(policy)
    serving = Path(model) / "serving"
    if not serving.is_dir():
        raise PenstockError(f"There is no model at {serving}; give what the trainer wrote.")
    manifest = read_manifest(examples)
    features = _features(schema, _provenance(model))
    with tempfile.TemporaryDirectory(prefix="penstock-infra-") as place:
        work = Path(place)
        rows = _rows(examples, split, list(features), rules.rows) if manifest.rows(split) else None
        if rows is None:
            words = f"Split {split!r} of the examples has no rows, so nothing was checked."
            outcome, checks = Outcome(), [Check("rows", "", False, words)]
        else:
            pq.write_table(rows, work / ROWS)
            _task(Path(model), features, rules).write(work)
            outcome = ask_in_process(
                work, rules.timeout_seconds, round(rules.peak_memory_mib * 2**20)
            )
            checks = checks_of(outcome, rules)
        given = {
            "model_digest": digest_path(serving),
            "examples_digest": manifest.content_digest,
            "split": split,
            "rows": rows.num_rows if rows else 0,
        }
        record = record_of(checks, outcome, rules, given)
        page = render(record)
        with new_folder(infra_blessing) as folder:
            text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            (folder / FILE).write_text(text, encoding="utf-8")
            (folder / PAGE).write_text(page, encoding="utf-8")
            if record["warmup_requests"]:
                (folder / WARMUP).parent.mkdir()
                shutil.copyfile(work / REQUESTS, folder / WARMUP)
    Path(report).parent.mkdir(parents=True, exist_ok=True)
    Path(report).write_text(page, encoding="utf-8")
    return {
        "blessed": record["blessed"],
        "reason": record["reason"],
        "markdown": markdown(record),
        "metadata": {
            "summary": record["reason"],
            "blessed": record["blessed"],
            "checks": len(record["checks"]),
            "failed_checks": sum(check["passed"] is False for check in record["checks"]),
        },
    }


@dataclass(frozen=True)
class _Feature:
    """A feature that a server is sent."""

    kind: Kind
    optional: bool


def _features(schema: str | os.PathLike[str], provenance: Mapping[str, Any]) -> dict[str, _Feature]:
    """Return what a server is sent: the schema's features but the label, and none of a struct."""
    loaded = load_schema(schema)
    environment = _SERVING if _SERVING in environments(loaded) else ""
    return {
        dotted(path): _Feature(_KINDS[type_name(feature)], feature.presence.min_fraction < 1)
        for path, feature in walk_features(loaded)
        if type_name(feature) in _KINDS
        and is_validated(feature)
        and is_in(loaded, feature, environment)
        and dotted(path) != provenance.get("label")
    }


def _rows(examples: str | os.PathLike[str], split: str, names: list[str], most: int) -> pa.Table:
    """Return the first rows of each shard, so many altogether, of those columns that are there."""
    there = read_schema(examples, split)
    names = [name for name in names if field_steps(there, name) is not None]
    files = shard_paths(examples, split)
    each = -(-most // len(files))
    parts = [next(batches, None) for batches in (iter_shard(file, names, each) for file in files)]
    table = pa.Table.from_batches([part for part in parts if part is not None])
    for place, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            plain = table.column(place).cast(column.type.value_type)
            table = table.set_column(place, column.name, plain)
    return table.slice(0, most)


def _task(model: Path, features: Mapping[str, _Feature], rules: Policy) -> Task:
    return Task(
        model=str(model.absolute()),
        parent=os.getpid(),
        started=time.monotonic(),
        batches=[batch.rows for batch in rules.batches],
        threads=rules.threads,
        features={name: feature.kind for name, feature in features.items()},
        optional=[name for name, feature in features.items() if feature.optional],
        signatures=rules.signatures,
        output=rules.output,
        absent=_absent(model),
        skipped=[case for case, rule in rules.wild.items() if rule == "skip"],
    )


def _absent(model: Path) -> list[str]:
    """Return what cannot be imported when the model is asked, the author's training code included.

    The package with the class of a kind of the author's own is needed, and stays.
    """
    module = str(_provenance(model).get("module") or "")
    file = Path(module).stem if module.endswith(".py") else ""
    package = file or module.rpartition(".")[0] or module
    try:
        kind = model_kind(model / "serving")
    except PenstockError:  # which is found again, and said, when the model is loaded
        kind = ""
    served = kind.partition(":")[0] if is_import_path(kind) else ""
    own = [] if not package or f"{served}.".startswith(f"{package}.") else [package]
    return [*own, *_ABSENT]


def _provenance(model: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what the trainer recorded about the model; nothing where it recorded nothing."""
    file = Path(model) / "model.json"
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PenstockError(f"{file} is not JSON ({error}); train the model again.") from error
    return content if isinstance(content, dict) else {}
