"""The data gate: what is wrong with every split, what the policy makes of it, and a verdict."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from ...data.examples import read_manifest, split_folder
from ...data.output import new_folder
from ...data.schemas import load_schema
from ...data.statistics import statistics_splits
from ...errors import PenstockError
from ...reports.validation import validation_markdown, validation_page
from .cleaning import clean_examples
from .comparisons import features_with
from .history import VERDICT, read_verdict, with_history
from .policy import CustomRule, Policy, parse_policy
from .split_check import QUARANTINED, Given, check_split
from .statistics_rules import broken_rules
from .verdict import Verdict, document, refusal, summary

PAGE = "validation.html"
SOURCES = 20


def validate_examples(
    statistics_path: str | os.PathLike[str],
    schema_path: str | os.PathLike[str],
    anomalies_path: str | os.PathLike[str],
    policy: str = "",
    environment: str = "",
    *,
    examples_path: str | os.PathLike[str] | None = None,
    previous_statistics_path: str | os.PathLike[str] | None = None,
    serving_statistics_path: str | os.PathLike[str] | None = None,
    previous_anomalies_path: str | os.PathLike[str] | None = None,
    cleaned_examples_path: str | os.PathLike[str] | None = None,
    report_path: str | os.PathLike[str] | None = None,
    digest_path: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Validate every split, write what was found, and the examples without what is quarantined.

    Args:
        statistics_path: The statistics' folder.
        schema_path: The schema's folder.
        anomalies_path: The folder to write, also when the verdict is `fail`.
        policy: The policy as YAML; docs/validation.md says what it holds. The default when empty.
        environment: An environment of the schema; `""` for none.
        examples_path: The examples that the statistics are of, where rows are to be named.
        previous_statistics_path: Statistics of the previous span, to find drift.
        serving_statistics_path: Statistics of what is served, to find skew.
        previous_anomalies_path: What the validation of the previous span wrote, to say since when
            an anomaly has been there.
        cleaned_examples_path: Where the examples without the rows in quarantine go; they are not
            written when the verdict is `fail`, and an empty folder is where there are no examples.
        report_path: Where the page shall lie a second time, for Kubeflow's UI.
        digest_path: Where the verdict shall lie as Markdown.

    Returns:
        Metadata: summary, verdict, anomalies (their number), quarantined (rows).

    Raises:
        PenstockError: A parameter or an input is wrong; or, after all has been written, the verdict
            is `fail`.
    """
    parsed = parse_policy(policy)
    schema = load_schema(schema_path)
    _check_environment(schema, environment)
    _check_rows_are_there(parsed, examples_path)
    before = None if previous_anomalies_path is None else read_verdict(previous_anomalies_path)
    with new_folder(anomalies_path) as folder:
        given = Given(
            parsed,
            schema,
            environment,
            statistics_path,
            folder / "spill",
            examples_path,
            previous_statistics_path,
            serving_statistics_path,
        )
        given.spill.mkdir()
        verdict = _validate(given, folder)
        if before is not None:
            verdict = with_history(verdict, before)
        shutil.rmtree(given.spill)
        content = document(verdict)
        text = json.dumps(content, indent=2, ensure_ascii=False)
        (folder / VERDICT).write_text(text + "\n", encoding="utf-8")
        page = validation_page(content, _datasets(given, verdict))
        (folder / PAGE).write_text(page, encoding="utf-8")
    _write(report_path, page)
    _write(digest_path, validation_markdown(content))
    if verdict.verdict == "fail":
        raise PenstockError(refusal(verdict, anomalies_path))
    _clean(examples_path, cleaned_examples_path, Path(anomalies_path), verdict)
    columns = {
        ".".join(feature.path.step) or feature.name
        for split in verdict.splits
        for feature in given.dataset(split).datasets[0].features
    }
    return {
        "summary": summary(verdict, len(columns)),
        "verdict": verdict.verdict,
        "anomalies": sum(len(split.anomalies) for split in verdict.splits.values()),
        "quarantined": sum(split.quarantined for split in verdict.splits.values()),
    }


def _validate(given: Given, folder: Path) -> Verdict:
    splits = statistics_splits(given.statistics)
    broken = _broken(given, splits)
    verdicts = {}
    for split in splits:
        place = folder / split_folder(split)
        place.mkdir()
        here = [(rule, feature) for rule, at, feature in broken if at == split]
        verdicts[split] = check_split(split, given, place, here)
    spans: Sequence[int] = ()
    source: Sequence[str] = ()
    if given.examples is not None:
        manifest = read_manifest(given.examples)
        spans = manifest.spans
        source = [str(file["path"]) for file in manifest.source.get("files", ())][:SOURCES]
    return Verdict(verdicts, given.environment, spans, source, _notes(given))


def _broken(given: Given, splits: Sequence[str]) -> list[tuple[CustomRule, str, str]]:
    if not given.policy.statistics_rules:
        return []
    current = {split: given.dataset(split).datasets[0] for split in splits}
    others = {split: given.others(split) for split in splits}
    previous, serving = (
        {split: found.datasets[0] for split, each in others.items() if (found := each[kind])}
        for kind in ("drift", "skew")
    )
    spill = given.spill / "statistics"
    return broken_rules(given.policy.statistics_rules, current, previous, serving, spill)


def _notes(given: Given) -> list[str]:
    """Return what was not checked, though the schema asks for it."""
    notes = []
    for field, path, what in (
        ("drift_comparator", given.previous, "previous statistics"),
        ("skew_comparator", given.serving, "serving statistics"),
    ):
        named = sorted(features_with(given.schema, field))
        if named and path is None:
            notes.append(
                f"The schema has a {field} for {', '.join(named)}; without {what} it was not "
                "checked."
            )
    if given.examples is None:
        notes.append("Without examples, no rows are named and none counted.")
    return notes


def _datasets(
    given: Given, verdict: Verdict
) -> dict[str, dict[str, statistics_pb2.DatasetFeatureStatistics]]:
    """Return per split the statistics that the page draws: current, previous span, serving."""
    names = {"drift": "previous span", "skew": "serving"}
    found = {}
    for split in verdict.splits:
        others = given.others(split)
        found[split] = {names[kind]: other.datasets[0] for kind, other in others.items() if other}
        found[split]["current"] = given.dataset(split).datasets[0]
    return found


def _clean(
    examples_path: str | os.PathLike[str] | None,
    cleaned_path: str | os.PathLike[str] | None,
    anomalies: Path,
    verdict: Verdict,
) -> None:
    if cleaned_path is None:
        return
    if examples_path is None:
        with new_folder(cleaned_path):
            return
    aside = {
        name: anomalies / split_folder(name) / QUARANTINED
        for name, split in verdict.splits.items()
        if split.quarantined
    }
    clean_examples(examples_path, cleaned_path, aside)


def _write(path: str | os.PathLike[str] | None, text: str) -> None:
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")


def _check_environment(schema: schema_pb2.Schema, environment: str) -> None:
    if environment and environment not in schema.default_environment:
        names = ", ".join(sorted(schema.default_environment)) or "none"
        raise PenstockError(
            f"The schema has no environment {environment!r} (it has {names}); use one of these or "
            "add it to the schema's default_environment."
        )


def _check_rows_are_there(policy: Policy, examples_path: object) -> None:
    key = policy.needs_rows()
    if key and examples_path is None:
        raise PenstockError(
            f"The data policy has {key}, which needs the rows; give the step the examples too."
        )
