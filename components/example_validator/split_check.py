"""One split held to the schema, the policy's rules, and other data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from ...data.examples import read_manifest
from ...data.statistics import read_statistics
from .anomaly_types import QUARANTINE_TOO_LARGE, SPLIT_EMPTY
from .comparisons import compare_split, other_side, tfdv_measurements, unmeasurable
from .policy import CustomRule, Policy, Ruling
from .row_rules import RowRule, rules_of_schema
from .rows import (
    PLACE_COLUMNS,
    SplitRows,
    check_rules,
    count_offending,
    open_split,
    rows_to_put_aside,
    sample_offending,
)
from .verdict import (
    ROW_RULE,
    SHOWN,
    STATISTICS_RULE,
    Anomaly,
    SplitVerdict,
    default_description,
    in_order,
    outcome_of,
    rows_in_words,
    share_in_words,
)

ANOMALIES = "anomalies.pbtxt"
OFFENDING = "offending_rows.parquet"
QUARANTINED = "quarantined_rows.parquet"

# A type, a feature and a sentence.
Reported = tuple[str, str | None, str]


@dataclass(frozen=True)
class Given:
    """What a validation is given.

    Attributes:
        policy: The policy.
        schema: The schema.
        environment: The environment; `""` for none.
        statistics: The statistics' folder.
        spill: Where folders may be made for what does not fit into memory.
        examples: The examples' folder, where rows are to be named.
        previous: The folder of the previous span's statistics.
        serving: The folder of serving's statistics.
    """

    policy: Policy
    schema: schema_pb2.Schema
    environment: str
    statistics: str | os.PathLike[str]
    spill: Path
    examples: str | os.PathLike[str] | None = None
    previous: str | os.PathLike[str] | None = None
    serving: str | os.PathLike[str] | None = None

    def dataset(self, split: str) -> statistics_pb2.DatasetFeatureStatisticsList:
        """Return a split's statistics."""
        return read_statistics(self.statistics, split)

    def others(self, split: str) -> dict[str, statistics_pb2.DatasetFeatureStatisticsList | None]:
        """Return what a split is compared with for `drift` and for `skew`; None for nothing."""
        return {
            "drift": other_side(self.previous, split, "The previous statistics"),
            "skew": other_side(self.serving, split, "The serving statistics"),
        }


@dataclass
class _Rows:
    """The rules about rows with how many rows break each, while the split's rows are open."""

    rows: SplitRows
    total: int
    rules: Sequence[RowRule]
    counts: Sequence[int]
    named: list[tuple[RowRule, int]] = field(default_factory=list)
    aside: list[RowRule] = field(default_factory=list)

    def of(self, name: str, feature: str | None) -> tuple[RowRule, int] | None:
        """Return the rule for a type and feature, and how many rows break it."""
        for rule, count in zip(self.rules, self.counts, strict=True):
            if (rule.name, rule.feature) == (name, feature):
                return rule, count
        return None


def check_split(
    split: str, given: Given, folder: Path, broken: Sequence[tuple[CustomRule, str]]
) -> SplitVerdict:
    """Hold a split to everything, and write what was found into a folder.

    Args:
        split: The split.
        given: What the validation is given.
        folder: The split's folder, where `anomalies.pbtxt` and the Parquet files of rows go.
        broken: The statistics rules that are broken in this split, with the feature.

    Raises:
        PenstockError: An input or a rule is wrong.
    """
    statistics = given.dataset(split)
    others = given.others(split)
    found = _tfdv_anomalies(statistics, given, others)
    tfdv.write_anomalies_text(found, str(folder / ANOMALIES))
    dataset = statistics.datasets[0]
    total = int(dataset.num_examples)
    if given.examples is not None:
        total = read_manifest(given.examples).rows(split)
    if not total or not dataset.num_examples:
        empty: list[Reported] = [(SPLIT_EMPTY, None, default_description(SPLIT_EMPTY))]
        return SplitVerdict(total, tuple(_judged(each, given.policy, split) for each in empty))
    reported = [*_listed(found), *unmeasurable(given.schema, dataset)]
    measurements = tfdv_measurements(found)
    for kind, other in others.items():
        if other is not None:
            rules = given.policy.drift_rules if kind == "drift" else given.policy.skew_rules
            compared = compare_split(kind, dataset, other.datasets[0], given.schema, rules)
            reported += compared.anomalies
            measurements += compared.measurements
    anomalies = [_of_statistics(rule, feature, given.policy) for rule, feature in broken]
    if given.examples is None:
        anomalies += [_judged(each, given.policy, split) for each in reported]
        return SplitVerdict(total, in_order(anomalies), 0, tuple(measurements))
    with open_split(given.examples, split, given.spill / split) as rows:
        weighted = bool(dataset.weighted_num_examples)
        open_rows = _open(rows, split, total, given, weighted)
        anomalies += _named(reported, open_rows, given.policy, split)
        anomalies = _with_samples(anomalies, open_rows, folder, given.policy.sample_rows)
        aside = _put_aside(open_rows, folder, given.policy, split)
        anomalies += aside[1]
    return SplitVerdict(total, in_order(anomalies), aside[0], tuple(measurements))


def _tfdv_anomalies(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    given: Given,
    others: Mapping[str, statistics_pb2.DatasetFeatureStatisticsList | None],
) -> anomalies_pb2.Anomalies:
    return tfdv.validate_statistics(
        statistics,
        given.schema,
        environment=given.environment or None,
        previous_statistics=others["drift"],
        serving_statistics=others["skew"],
    )


def _listed(found: anomalies_pb2.Anomalies) -> list[Reported]:
    """Return one anomaly per type and feature, with what TFDV says of it."""
    named: list[tuple[str | None, anomalies_pb2.AnomalyInfo]] = [
        (".".join(info.path.step) if info.path.step else name, info)
        for name, info in found.anomaly_info.items()
    ]
    if found.HasField("dataset_anomaly_info"):
        named.append((None, found.dataset_anomaly_info))
    told: dict[tuple[str, str | None], list[str]] = {}
    for feature, info in named:
        # TFDV may describe an anomaly without giving its reasons one by one.
        reasons = info.reason or [anomalies_pb2.AnomalyInfo.Reason(description=info.description)]
        for reason in reasons:
            kind = anomalies_pb2.AnomalyInfo.Type.Name(reason.type)
            text = reason.description.strip() or reason.short_description.strip()
            told.setdefault((kind, feature), []).append(text or default_description(kind))
    return [(kind, feature, " ".join(texts)) for (kind, feature), texts in told.items()]


def _open(rows: SplitRows, split: str, total: int, given: Given, weighted: bool) -> _Rows:
    """Check the author's rules, and count the rows that break each rule."""
    custom = [
        RowRule(rule.name, None, rule.sql, "")
        for rule in given.policy.row_rules
        if rule.is_about(split)
    ]
    check_rules(rows, custom)
    rules = rules_of_schema(given.schema, rows.columns, given.environment, weighted) + custom
    return _Rows(rows, total, rules, count_offending(rows, rules))


def _named(
    reported: Sequence[Reported], rows: _Rows, policy: Policy, split: str
) -> Iterator[Anomaly]:
    """Yield what was reported with the rows that break it, and what the rows alone show."""
    keys = {(kind, feature) for kind, feature, _ in reported}
    absent = {feature for kind, feature in keys if kind == "FEATURE_TYPE_NOT_PRESENT"}
    for each in reported:
        yield _judged(each, policy, split, rows)
    own = {rule.name: rule for rule in policy.row_rules}
    for rule, count in zip(rows.rules, rows.counts, strict=True):
        if rule.feature is None:
            if count:
                yield _of_rows(own[rule.name], rule, count, rows, policy)
        elif rule.feature in absent or (rule.name, rule.feature) in keys:
            continue
        elif _too_many(rule, count, rows.total):
            verb = "has" if count == 1 else "have"
            text = f"{rows_in_words(count)} {verb} {rule.wrong}, which the statistics do not show."
            yield _judged((rule.name, rule.feature, text), policy, split, rows)


def _too_many(rule: RowRule, count: int, total: int) -> bool:
    return rule.allowed is not None and count / total > rule.allowed


def _judged(each: Reported, policy: Policy, split: str, rows: _Rows | None = None) -> Anomaly:
    kind, feature, text = each
    ruling = policy.ruling(kind, feature, split)
    rule = rows.of(kind, feature) if rows else None
    if rule is None or rows is None:
        outcome = outcome_of(ruling, policy.on_anomalies)
        return Anomaly(
            feature, kind, kind, text, ruling.severity, outcome, tolerate=ruling.tolerate
        )
    return _with_rows(kind, feature, text, ruling, rule, rows, policy)


def _of_rows(own: CustomRule, rule: RowRule, count: int, rows: _Rows, policy: Policy) -> Anomaly:
    text = own.description or f"Not every row satisfies {' '.join(own.sql.split())}"
    return _with_rows(ROW_RULE, None, text, own.ruling, (rule, count), rows, policy)


def _with_rows(
    kind: str,
    feature: str | None,
    text: str,
    ruling: Ruling,
    found: tuple[RowRule, int],
    rows: _Rows,
    policy: Policy,
) -> Anomaly:
    """Return an anomaly with the number of its rows, and note that they are to be named."""
    rule, count = found
    share = count / rows.total
    outcome = outcome_of(ruling, policy.on_anomalies, count, share)
    if count and outcome != "ignored":
        rows.named.append(found)
    if outcome == "quarantine":
        rows.aside.append(rule)
    known = (count, share, ruling.tolerate)
    return Anomaly(feature, kind, rule.name, text, ruling.severity, outcome, *known)


def _with_samples(
    anomalies: Sequence[Anomaly], rows: _Rows, folder: Path, limit: int
) -> list[Anomaly]:
    """Write the first rows of every anomaly into the folder, and name some in the anomaly."""
    if not rows.named:
        return list(anomalies)
    rules, counts = zip(*rows.named, strict=True)
    samples = sample_offending(rows.rows, rules, counts, limit)
    pq.write_table(pa.concat_tables(samples), folder / OFFENDING)
    first = {}
    for rule, sample in zip(rules, samples, strict=True):
        told = sample.select([*PLACE_COLUMNS, "value"]).slice(0, SHOWN).to_pylist()
        first[rule.name, rule.feature] = tuple(
            {"place": rows.rows.places.in_words(each), **each} for each in told
        )
    return [
        replace(anomaly, examples=first.get((anomaly.rule, anomaly.feature), ()))
        for anomaly in anomalies
    ]


def _of_statistics(rule: CustomRule, feature: str, policy: Policy) -> Anomaly:
    text = rule.description or f"The statistics do not satisfy {' '.join(rule.sql.split())}"
    outcome = outcome_of(rule.ruling, policy.on_anomalies)
    return Anomaly(feature, STATISTICS_RULE, rule.name, text, rule.ruling.severity, outcome)


def _put_aside(rows: _Rows, folder: Path, policy: Policy, split: str) -> tuple[int, list[Anomaly]]:
    """Write the rows that go to quarantine, and return how many, and what is wrong with that."""
    if not rows.aside:
        return 0, []
    number, writer = 0, None
    for batch in rows_to_put_aside(rows.rows, rows.aside):
        if writer is None:
            writer = pq.ParquetWriter(folder / QUARANTINED, batch.schema, compression="zstd")
        writer.write_table(pa.Table.from_batches([batch]))
        number += batch.num_rows
    if writer is not None:
        writer.close()
    share = number / rows.total
    if share <= policy.max_quarantined_share and number < rows.total:
        return number, []
    text = (
        f"{rows_in_words(number)} of {rows.total:,} ({share_in_words(share)}) would go to "
        f"quarantine; max_quarantined_share is {policy.max_quarantined_share:g}."
    )
    return number, [_judged((QUARANTINE_TOO_LARGE, None, text), policy, split)]
