"""Search hyperparameters: prepare the folds, let workers run trials, write what they found."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...data.digest import digest_bytes, digest_path
from ...data.examples import read_manifest
from ...data.output import new_folder
from ...reports.tuning import tuning_markdown, tuning_page
from ...training.author import author_attribute, load_author_module, module_source
from ...training.author_code import module_name
from ...training.hyperparameters import write_hyperparameters
from .job import Job
from .objective import propose_for
from .outcome import TRIALS_SCHEMA, best_hyperparameters, best_of, importance, trial_rows
from .settings import Search, Training, Validation, check_settings
from .storage import name_of, storage_url
from .study import SharedStudy, create_study
from .workers import run_workers

TRIALS = "trials.parquet"
# Of the settings, what tells one search from another; the rest says how long it goes on, and where.
SUBJECT = ("metric", "direction", "hyperparameters")


def tune(
    examples: str | os.PathLike[str],
    schema: str | os.PathLike[str],
    best_path: str | os.PathLike[str],
    trials_path: str | os.PathLike[str],
    training: Training,
    search: Search,
    validation: Validation,
    report_path: str | os.PathLike[str] | None = None,
    summary_path: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Search the author's hyperparameters and write the best; with one trial, score those given.

    Args:
        examples: Folder of the Examples.
        schema: Folder of the Schema.
        best_path: Where to write the HyperParameters.
        trials_path: Where to write the folder with the table of trials.
        training: How one model is trained.
        search: What is searched for, and how long.
        validation: On which rows models are scored.
        report_path: Where the page goes.
        summary_path: Where the summary in Markdown goes.

    Returns:
        Metadata: `summary`, `study`, `storage`, `hyperparameters`, `metric`, `score`,
        `standard_deviation`, `trials` (by state), `study_digest`.

    Raises:
        PenstockError: The parameters, the module or the data are not as they should be, the study
            is about something else, or no trial was completed.
    """
    manifest = read_manifest(examples)
    rule = validation.rule(manifest, training.train_split, training.label)
    training, search = check_settings(manifest, training, search, divided=rule is not None)
    author = load_author_module(training.module)
    author_attribute(author, "run_fn", "a function run_fn(fn_args)")
    propose_for(author, search.space, search.trials)
    how = rule.describe() if rule else f"split {training.eval_split}"
    subject = {
        "examples": manifest.content_digest,
        "schema": digest_path(schema),
        "module": digest_path(module_source(author)),
        "validation": f"{training.train_split} scored on {how}",
        "space": "none" if search.trials == 1 else search.space or "tuner_space",
        **{key: value for key, value in asdict(search).items() if key in SUBJECT},
        **{key: value for key, value in asdict(training).items() if key != "module"},
    }
    name = search.study or _name(module_name(training.module), subject)
    url = storage_url(search.storage, name)
    create_study(url, name, search.direction, subject)
    job = Job(url.render_as_string(hide_password=False), name, str(schema), search, training)
    with tempfile.TemporaryDirectory(prefix="penstock-tuner-") as folder:
        # TFDV, Keras and TensorFlow take seconds to import; bad input should not wait for them.
        from .preparation import prepare_folds

        splits = (training.train_split, training.eval_split)
        module = training.module
        folds = prepare_folds(examples, schema, Path(folder), module, training.label, rule, splits)
        study = job.open()
        run_workers(study, replace(job, folds=folds), Path(folder))
    content = best_hyperparameters(study, best_of(study), search.metric, folds, how, subject)
    _write(study, content, (best_path, trials_path, report_path, summary_path))
    return _metadata(content, name_of(url))


def _name(module: str, subject: Mapping[str, Any]) -> str:
    digest = digest_bytes(json.dumps(subject, sort_keys=True).encode())
    return f"{Path(module).stem.rpartition('.')[2] or 'study'}-{digest.partition(':')[2][:12]}"


def _write(
    study: SharedStudy,
    content: Mapping[str, Any],
    places: Sequence[str | os.PathLike[str] | None],
) -> None:
    best_path, trials_path, report_path, summary_path = places
    rows = trial_rows(study)
    weights = importance(study)
    texts = {
        report_path: tuning_page(content, rows, weights),
        summary_path: tuning_markdown(content, rows, weights),
    }
    with new_folder(str(best_path)) as best, new_folder(str(trials_path)) as trials:
        write_hyperparameters(best, content)
        pq.write_table(pa.Table.from_pylist(rows, schema=TRIALS_SCHEMA), trials / TRIALS)
        for path, text in texts.items():
            if path is not None:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                Path(path).write_text(text, encoding="utf-8")


def _metadata(content: Mapping[str, Any], storage: str) -> dict[str, Any]:
    score, study = content["score"], content["study"]
    count = sum(study["trials"].values())
    states = ", ".join(f"{number} {state}" for state, number in study["trials"].items())
    around = score["standard_deviation"]
    found = f"{score['mean']:.4g}" + (f" \N{PLUS-MINUS SIGN} {around:.2g}" if around else "")
    settings = content["hyperparameters"]
    chosen = ", ".join(
        f"{name} {f'{value:.4g}' if isinstance(value, float) else f'{value!s:.12}'}"
        for name, value in settings.items()
    )
    return {
        "summary": f"{count} trial{'s'[: count != 1]} ({states}), best {score['metric']} {found}"
        + (f": {chosen}" if chosen else ""),
        "study": study["name"],
        "study_digest": study["digest"],
        "storage": storage,
        "hyperparameters": settings,
        "metric": score["metric"],
        "score": score["mean"],
        "standard_deviation": around,
        "trials": study["trials"],
    }
