"""The data gate: TFDV's anomalies per split, and a verdict that stops the pipeline."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from ...data.examples import split_folder
from ...data.output import new_folder
from ...data.schemas import load_schema
from ...data.statistics import read_statistics, statistics_splits
from ...errors import PenstockError

ANOMALIES = "anomalies.pbtxt"
VERDICT = "verdict.json"
SPLIT_EMPTY = "SPLIT_EMPTY"


@dataclass(frozen=True)
class Anomaly:
    """One way in which a split breaks the schema.

    Attributes:
        feature: The feature's path joined by dots; None when it concerns the whole split.
        type: TFMD's `AnomalyInfo.Type`, or `SPLIT_EMPTY`.
        severity: `ERROR`, `WARNING` or `UNKNOWN`.
        short: A few words.
        description: TFDV's sentence.
    """

    feature: str | None
    type: str
    severity: str
    short: str
    description: str


@dataclass(frozen=True)
class SplitVerdict:
    """What was found in one split; the verdict is `pass`, `warn` or `fail`."""

    verdict: str
    rows: int
    anomalies: tuple[Anomaly, ...]


def validate_examples(
    statistics_path: str | os.PathLike[str],
    schema_path: str | os.PathLike[str],
    anomalies_path: str | os.PathLike[str],
    on_anomalies: str = "fail",
    environment: str = "",
) -> dict[str, Any]:
    """Validate every split's statistics against the schema and write what was found.

    An anomaly of severity ERROR, and a split without rows, makes the verdict `fail`; with
    `on_anomalies="warn"` it is `warn`, as it is for anomalies of lower severity.

    Args:
        statistics_path: The statistics' folder.
        schema_path: The schema's folder.
        anomalies_path: The folder to write, also when the verdict is `fail`.
        on_anomalies: `fail` or `warn`.
        environment: An environment of the schema; `""` for none.

    Returns:
        Metadata: summary, verdict, anomalies (their number).

    Raises:
        PenstockError: A parameter or an input is wrong; or, after the output has been written, the
            verdict is `fail`.
    """
    if on_anomalies not in ("fail", "warn"):
        raise PenstockError(
            f"on_anomalies is {on_anomalies!r}; use 'fail' to stop the pipeline or 'warn' to go on."
        )
    schema = load_schema(schema_path)
    _check_environment(schema, environment)
    verdicts: dict[str, SplitVerdict] = {}
    with new_folder(anomalies_path) as folder:
        columns: set[str] = set()
        for split in statistics_splits(statistics_path):
            statistics = read_statistics(statistics_path, split)
            dataset = statistics.datasets[0]
            columns.update(".".join(f.path.step) or f.name for f in dataset.features)
            found = tfdv.validate_statistics(statistics, schema, environment=environment or None)
            place = folder / split_folder(split)
            place.mkdir()
            tfdv.write_anomalies_text(found, str(place / ANOMALIES))
            verdicts[split] = _judge(found, int(dataset.num_examples), on_anomalies)
        content = json.dumps(_document(verdicts), indent=2, ensure_ascii=False)
        (folder / VERDICT).write_text(content + "\n", encoding="utf-8")
    if _overall(verdicts) == "fail":
        raise PenstockError(_refusal(verdicts, anomalies_path))
    return {
        "summary": _summary(verdicts, len(columns)),
        "verdict": _overall(verdicts),
        "anomalies": sum(len(verdict.anomalies) for verdict in verdicts.values()),
    }


def _check_environment(schema: schema_pb2.Schema, environment: str) -> None:
    known = set(schema.default_environment)
    for feature in schema.feature:
        known.update(feature.in_environment, feature.not_in_environment)
    if environment and environment not in known:
        names = ", ".join(sorted(known)) or "none"
        raise PenstockError(
            f"The schema has no environment {environment!r} (it has {names}); use one of these or "
            "add it to the schema's default_environment."
        )


def _judge(found: anomalies_pb2.Anomalies, rows: int, on_anomalies: str) -> SplitVerdict:
    if rows:
        anomalies = _listed(found)
    else:
        description = "The split has no rows."
        anomalies = (Anomaly(None, SPLIT_EMPTY, "ERROR", "Split without rows", description),)
    if any(anomaly.severity == "ERROR" for anomaly in anomalies):
        return SplitVerdict(on_anomalies, rows, anomalies)
    return SplitVerdict("warn" if anomalies else "pass", rows, anomalies)


def _listed(found: anomalies_pb2.Anomalies) -> tuple[Anomaly, ...]:
    """Return one anomaly per reason, those of the whole dataset first, then by feature."""
    infos = [(".".join(info.path.step) or name, info) for name, info in found.anomaly_info.items()]
    named: list[tuple[str | None, anomalies_pb2.AnomalyInfo]] = [*sorted(infos, key=lambda i: i[0])]
    if found.HasField("dataset_anomaly_info"):
        named.insert(0, (None, found.dataset_anomaly_info))
    anomalies = []
    for feature, info in named:
        severity = anomalies_pb2.AnomalyInfo.Severity.Name(info.severity)
        # TFDV may describe an anomaly without giving its reasons one by one.
        reasons = info.reason or [
            anomalies_pb2.AnomalyInfo.Reason(
                short_description=info.short_description, description=info.description
            )
        ]
        for reason in reasons:
            kind = anomalies_pb2.AnomalyInfo.Type.Name(reason.type)
            short, text = reason.short_description, reason.description.strip()
            anomalies.append(Anomaly(feature, kind, severity, short, text))
    return tuple(anomalies)


def _overall(verdicts: Mapping[str, SplitVerdict]) -> str:
    given = {verdict.verdict for verdict in verdicts.values()}
    return next(worst for worst in ("fail", "warn", "pass") if worst in given)


def _document(verdicts: Mapping[str, SplitVerdict]) -> dict[str, Any]:
    return {
        "verdict": _overall(verdicts),
        "splits": {split: asdict(verdict) for split, verdict in verdicts.items()},
    }


def _refusal(verdicts: Mapping[str, SplitVerdict], path: str | os.PathLike[str]) -> str:
    failed = {split: v.anomalies for split, v in verdicts.items() if v.verdict == "fail"}
    told = [
        f"split {split!r}{_of_feature(anomaly)}: {anomaly.description or anomaly.short}".rstrip(
            ". "
        )
        for split, anomalies in failed.items()
        for anomaly in anomalies
        if anomaly.severity == "ERROR"
    ]
    more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
    return (
        f"The data did not pass validation: {'; '.join(told[:3])}{more}; mend the data or the "
        f'schema, or set on_anomalies to "warn" (everything found is in {path}/{VERDICT}).'
    )


def _of_feature(anomaly: Anomaly) -> str:
    return "" if anomaly.feature is None else f", feature {anomaly.feature!r}"


def _summary(verdicts: Mapping[str, SplitVerdict], columns: int) -> str:
    clean = [split for split, verdict in verdicts.items() if not verdict.anomalies]
    parts = []
    for split, verdict in verdicts.items():
        if verdict.anomalies:
            features = dict.fromkeys(a.feature or a.short for a in verdict.anomalies)
            count = len(verdict.anomalies)
            shown = ", ".join(list(features)[:5]) + (", ..." if len(features) > 5 else "")
            parts.append(f"{count} anomal{'y' if count == 1 else 'ies'} in {split} ({shown})")
    if clean:
        parts.append(f"no anomalies in {', '.join(clean)}")
    return f"{columns} feature{'s'[: columns != 1]}, {'; '.join(parts)}"
