"""From models and a split to metrics, how sure they are, a verdict and a page."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import config_util

from ...data.digest import digest_path
from ...data.examples import Manifest, read_manifest, read_schema
from ...data.output import new_folder
from ...errors import PenstockError
from ...evaluation.blessing import FILE, read_forced
from ...evaluation.champion import read_champion
from ...models.loading import serving_folder
from .analysis import analyze
from .checks import Evidence
from .config import (
    baseline_of,
    candidate_of,
    check_columns,
    complete,
    needed_columns,
    parse_eval_config,
)
from .curves import curves_of
from .jackknife import fill_by_jackknife
from .page import render
from .policy import Policy, read_policy
from .predictions import Predictions, Source, predict
from .records import blessing_record, metrics_record, result, write_json, write_table
from .significance import assess
from .verdict import judge

WORK = "work"
JACKKNIFE_SEED = 20  # TFMA's generator takes 32 bits, and wants another stream than ours.


def evaluate(
    examples: str | os.PathLike[str],
    model: str | os.PathLike[str] | None,
    evaluation: str | os.PathLike[str],
    blessing: str | os.PathLike[str],
    report: str | os.PathLike[str],
    eval_config: str,
    split: str = "eval",
    *,
    champion: str | os.PathLike[str] | None = None,
    policy: Mapping[str, Any] | str | None = None,
    replicates: int = 200,
    seed: int = 0,
    forced: Mapping[str, str] | None = None,
    beam_pipeline_args: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Evaluate a model on one split and write the evaluation, the blessing and its page.

    Args:
        examples: The Examples' folder.
        model: The Model's folder; None where `prediction_key` names a column of the Examples that
            holds the predictions.
        evaluation: The folder to write TFMA's output, `metrics.json` and `metrics.parquet` into.
        blessing: The folder to write `blessing.json` and `blessing.html` into.
        report: The file to write the page to once more.
        eval_config: A tfma.EvalConfig as proto text, JSON or YAML.
        split: Which split.
        champion: The Model's folder of the model in use; None, or a folder that says so, where
            there is none yet.
        policy: How the thresholds decide; see `read_policy`.
        replicates: Of the bootstrap; 0 turns it off.
        seed: Of the bootstrap.
        forced: `by`, `reason` and `expires`, to bless the model against the verdict.
        beam_pipeline_args: Beam's flags; see `penstock.data.beam`.

    Returns:
        `blessed`, `reason`, `metrics` (the finite ones over all rows), `summary` (Markdown), `roc`
        (points of the ROC curve), and `evaluation` and `blessing`: metadata for the two artifacts.

    Raises:
        PenstockError: The config, the policy, the columns, the models or the split do not fit
            together.
    """
    rules, override = read_policy(policy), read_forced(forced) if forced else None
    _check_numbers(replicates, seed, rules)
    asked = parse_eval_config(eval_config)
    in_use = read_champion(champion)
    config = complete(asked, champion=in_use is not None or _baseline_is_a_column(asked))
    manifest = read_manifest(examples)
    columns = {column.name: column.type for column in manifest.columns}
    check_columns(config, columns, read_schema(examples, split))
    with new_folder(evaluation) as folder:
        work = folder / WORK
        predictions = _predict(
            examples, split, model, in_use, config, columns, work, beam_pipeline_args
        )
        analysis = analyze(
            predictions.files,
            config,
            folder,
            data_location=split,
            jackknife_seed=seed + JACKKNIFE_SEED if replicates else None,
            beam_pipeline_args=beam_pipeline_args,
        )
        significance = assess(
            predictions.files,
            config,
            analysis,
            work,
            replicates=replicates,
            seed=seed,
            beam_pipeline_args=beam_pipeline_args,
        )
        if replicates and analysis.by_slices:
            significance = fill_by_jackknife(
                significance, predictions.files, config, analysis, work, seed, beam_pipeline_args
            )
        curves = curves_of(predictions.files, config)
        shutil.rmtree(work)
        metrics = metrics_record(config, analysis, significance, predictions, rules.confidence)
        write_json(folder / "metrics.json", metrics)
        write_table(folder / "metrics.parquet", metrics)
    evidence = Evidence(
        predictions.rows,
        predictions.not_finite[candidate_of(config).name],
        analysis,
        significance,
        champion_missing=baseline_of(config) is None and _compares(asked),
    )
    verdict = judge(config, evidence, rules)
    record = blessing_record(
        verdict, rules, predictions.rows, evidence.champion_missing, override
    ) | _digests(model, in_use, manifest)
    page = render(record, metrics, curves, _provenance(model), split, manifest.spans)
    _write(blessing, report, record, page)
    roc = [
        {"fpr": float(fpr), "tpr": float(tpr), "threshold": float(threshold)}
        for fpr, tpr, threshold in (curves[0].roc if curves else [])
    ]
    return result(record, metrics, roc)


def _check_numbers(replicates: int, seed: int, policy: Policy) -> None:
    if not 0 <= replicates <= 10_000 or replicates == 1:
        raise PenstockError(
            f"replicates is {replicates}; give 0 for none, or 2 to 10,000, such as 200."
        )
    if seed < 0:
        raise PenstockError(f"seed is {seed}; give a number from 0 on.")
    if policy.confident and replicates == 0:
        raise PenstockError(
            "The blessing policy's mode is confident, and replicates is 0, so most metrics would "
            "have no interval to decide by; give replicates, such as 200."
        )


def _compares(config: config_pb2.EvalConfig) -> bool:
    return bool(config_util.has_change_threshold(config))


def _baseline_is_a_column(config: config_pb2.EvalConfig) -> bool:
    """Return whether the champion's predictions are in the Examples, in a column of their own."""
    baseline = baseline_of(config)
    return (
        baseline is not None
        and bool(baseline.prediction_key)
        and (baseline.prediction_key != candidate_of(config).prediction_key)
    )


def _predict(
    examples: str | os.PathLike[str],
    split: str,
    model: str | os.PathLike[str] | None,
    champion: Path | None,
    config: config_pb2.EvalConfig,
    columns: Mapping[str, str],
    work: Path,
    beam_pipeline_args: Sequence[str] | None,
) -> Predictions:
    """Predict with each model, and name the columns of the predictions in `config`."""
    spec = candidate_of(config)
    of_model = {spec.name: model}
    baseline = baseline_of(config)
    if baseline is not None:
        of_model[baseline.name] = champion
    sources = []
    for s in config.model_specs:
        copied = s.is_baseline and model is None and s.prediction_key == spec.prediction_key
        # The column of the candidate's predictions is no output of the champion.
        output = "" if copied and champion is not None else s.prediction_key
        place = of_model[s.name]
        digest = digest_path(serving_folder(place)) if place else ""
        sources.append(Source(s.name, place, s.signature_name, output, digest))
    predictions = predict(
        examples,
        split,
        sources,
        needed_columns(config, columns),
        work / "rows",
        required=[name for name in (spec.label_key, spec.example_weight_key) if name],
        known_columns=columns,
        beam_pipeline_args=beam_pipeline_args,
    )
    for s in config.model_specs:
        s.prediction_key = predictions.columns[s.name]
    return predictions


def _digests(
    model: str | os.PathLike[str] | None, champion: Path | None, manifest: Manifest
) -> dict[str, Any]:
    return {
        "model_digest": digest_path(Path(model) / "serving") if model else None,
        "champion_digest": digest_path(champion / "serving") if champion else None,
        "examples_digest": manifest.content_digest,
    }


def _provenance(model: str | os.PathLike[str] | None) -> dict[str, Any]:
    """Return what the trainer recorded about the model; nothing where it recorded nothing."""
    file = Path(model) / "model.json" if model else None
    if file is None or not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PenstockError(f"{file} is not JSON ({error}); train the model again.") from error
    return content if isinstance(content, dict) else {}


def _write(
    blessing: str | os.PathLike[str],
    report: str | os.PathLike[str],
    record: Mapping[str, Any],
    page: str,
) -> None:
    with new_folder(blessing) as folder:
        write_json(folder / FILE, record)
        (folder / "blessing.html").write_text(page, encoding="utf-8")
    Path(report).parent.mkdir(parents=True, exist_ok=True)
    Path(report).write_text(page, encoding="utf-8")
