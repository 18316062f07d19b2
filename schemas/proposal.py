"""What new data would need of a reviewed schema, as a diff for people: proposed, never applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..data.schemas import parse_schema
from ..errors import PenstockError
from .changes import Change, find_changes, unified_diff
from .features import DOMAINS, cut, environments, is_in, type_name, walk_features
from .text import rewrite

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2


@dataclass(frozen=True)
class Proposal:
    """A changed schema, with what is changed and why.

    Attributes:
        text: The schema as it would be, the comments and the layout of the reviewed one kept.
        changes: Each change in words.
        reasons: What is in the data that the schema does not accept, in TFDV's words, by feature.
        diff: The changes and reasons in words, then a unified diff; `""` when nothing changes.
    """

    text: str
    changes: tuple[Change, ...]
    reasons: tuple[tuple[str, str], ...]
    diff: str


def propose_update(
    text: str,
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    *,
    environment: str = "",
    max_string_domain_size: int = 100,
    name: str = "schema.pbtxt",
    source: str = "the statistics",
) -> Proposal:
    """Propose the least changes, by `tfdv.update_schema`, that make a schema accept new data.

    A feature that the environment does not have is left alone. One that is missing altogether
    would be deprecated; one of another type would take that type (TFDV would deprecate it too).
    New words join a domain in its order when it has one. A proposal is a question: what in the data
    is a fault must not get into the schema.

    Args:
        text: The reviewed schema.
        statistics: Of the new data, one data set.
        environment: An environment of the schema that the data belong to; `""` for none.
        max_string_domain_size: A new feature of words that has more different ones gets no domain.
        name: The name of the reviewed file, which the diff is about.
        source: What the diff calls the data.

    Raises:
        PenstockError: The text is no schema, it has no such environment, or there are no rows.
    """
    import tensorflow_data_validation as tfdv

    schema = parse_schema(text, name)
    known = environments(schema)
    if environment and environment not in known:
        raise PenstockError(
            f"{name} has no environment {environment!r} (it has {', '.join(known) or 'none'}); use "
            "one of these or add it to the schema's default_environment."
        )
    if not statistics.datasets or not statistics.datasets[0].num_examples:
        raise PenstockError(f"There are no rows in {source}, so nothing can be proposed.")
    updated = tfdv.update_schema(schema, statistics, max_string_domain_size=max_string_domain_size)
    _mend_types(schema, updated, tfdv.infer_schema(statistics, False, max_string_domain_size))
    _keep_absent(schema, updated, environment)
    _keep_order(schema, updated)
    found = tfdv.validate_statistics(statistics, schema, environment=environment or None)
    reasons = tuple(
        (".".join(info.path.step) or feature, info.description.strip())
        for feature, info in sorted(found.anomaly_info.items())
    )
    return propose(text, updated, name=name, source=source, reasons=reasons)


def propose(
    text: str,
    target: schema_pb2.Schema,
    *,
    name: str = "schema.pbtxt",
    source: str = "another schema",
    reasons: tuple[tuple[str, str], ...] = (),
) -> Proposal:
    """Return how the schema `text` would have to change in order to say `target`."""
    changes = tuple(find_changes(parse_schema(text, name), target))
    new = rewrite(text, target)
    diff = unified_diff(text, new, f"a/{name}", f"b/{name}")
    if not diff:
        return Proposal(text, changes, reasons, "")
    count = f"{len(changes)} change{'s'[: len(changes) != 1]}"
    lines = [f"# {count} to {name}, proposed by {source}. Read, then `git apply` or `patch -p1`."]
    lines += [f"#   {change}" for change in changes]
    if reasons:
        lines += ["# What the data have that the schema does not accept:"]
        lines += [
            f"#   {feature}: {cut(' '.join(reason.split()), 200)}" for feature, reason in reasons
        ]
    return Proposal(new, changes, reasons, "\n".join(lines) + "\n" + diff)


def _mend_types(old: schema_pb2.Schema, new: schema_pb2.Schema, found: schema_pb2.Schema) -> None:
    """Give features of another type that type, where TFDV would no longer validate them."""
    before, seen = dict(walk_features(old)), dict(walk_features(found))
    for path, feature in walk_features(new):
        if path not in before or path not in seen:
            continue
        kind = seen[path].type
        if feature.lifecycle_stage != before[path].lifecycle_stage and feature.type != kind:
            feature.CopyFrom(before[path])
            feature.type = kind
            domain = feature.WhichOneof("domain_info")
            if domain and domain not in DOMAINS[type_name(feature)]:
                feature.ClearField(domain)


def _keep_absent(old: schema_pb2.Schema, new: schema_pb2.Schema, environment: str) -> None:
    """Undo what was done to features that the environment does not have."""
    for before, after in zip(old.feature, new.feature, strict=False):
        if before.name == after.name and not is_in(old, before, environment):
            after.CopyFrom(before)


def _keep_order(old: schema_pb2.Schema, new: schema_pb2.Schema) -> None:
    """Put the words of a domain in order where they were in order before."""
    for before, after in zip(old.string_domain, new.string_domain, strict=False):
        values = list(before.value)
        if before.name == after.name and len(values) > 1 and values == sorted(values):
            after.value[:] = sorted(after.value)
