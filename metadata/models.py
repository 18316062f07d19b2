"""The tables, named as ML Metadata names them.

The words are those of MLMD (github.com/google/ml-metadata, metadata_store.proto): an Execution
consumes and produces Artifacts, told by Events; Contexts group them, by Associations (executions)
and Attributions (artifacts). Times are milliseconds since the epoch, as there. Types are plain
strings. Added to it are `run` (what is known of a context that is a pipeline run), `process` (who
is at work, and whether still) and `claim` (who computes which cache key).
"""

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, MetaData, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

PIPELINE = "system.Pipeline"
PIPELINE_RUN = "system.PipelineRun"
INPUT = "INPUT"
OUTPUT = "OUTPUT"

# SQLite counts up by itself for INTEGER alone.
Id = BigInteger().with_variant(Integer(), "sqlite")


class Table(DeclarativeBase):
    """What every table shares: constraints with names, so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dict[str, Any]: JSON}  # noqa: RUF012 - SQLAlchemy's own declaration


class ProcessRow(Table):
    """A process that writes here, known well enough to tell later whether it still lives."""

    __tablename__ = "process"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    host: Mapped[str]
    boot_id: Mapped[str]
    pid_namespace: Mapped[str]
    pid: Mapped[int] = mapped_column(BigInteger)
    start_ticks: Mapped[int] = mapped_column(BigInteger)
    heartbeat_time_since_epoch: Mapped[int] = mapped_column(BigInteger)


class ContextRow(Table):
    """What groups executions and artifacts: a pipeline, or one run of it."""

    __tablename__ = "context"
    __table_args__ = (UniqueConstraint("type", "name"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    type: Mapped[str]
    name: Mapped[str]
    create_time_since_epoch: Mapped[int] = mapped_column(BigInteger)


class ParentContextRow(Table):
    """A run's context lies in its pipeline's."""

    __tablename__ = "parent_context"

    context_id: Mapped[int] = mapped_column(ForeignKey("context.id"), primary_key=True)
    parent_context_id: Mapped[int] = mapped_column(
        ForeignKey("context.id"), primary_key=True, index=True
    )


class RunRow(Table):
    """What is known of a context that is a pipeline run."""

    __tablename__ = "run"
    __table_args__ = (Index(None, "pipeline", "create_time_since_epoch"),)

    context_id: Mapped[int] = mapped_column(ForeignKey("context.id"), primary_key=True)
    run_id: Mapped[str] = mapped_column(unique=True)
    pipeline: Mapped[str]
    state: Mapped[str] = mapped_column(index=True)
    spec_digest: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    properties: Mapped[dict[str, Any]]
    folder: Mapped[str]
    error: Mapped[str | None]
    process_id: Mapped[int] = mapped_column(ForeignKey("process.id"))
    create_time_since_epoch: Mapped[int] = mapped_column(BigInteger)
    end_time_since_epoch: Mapped[int | None] = mapped_column(BigInteger)


class ExecutionRow(Table):
    """One step of a run: its type is the component, its name the step's path in the pipeline."""

    __tablename__ = "execution"
    __table_args__ = (Index(None, "cache_key", "last_known_state"), Index(None, "type", "id"))

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    type: Mapped[str]
    name: Mapped[str]
    last_known_state: Mapped[str] = mapped_column(index=True)
    cache_key: Mapped[str | None]
    key_parts: Mapped[dict[str, Any]]
    parameters: Mapped[dict[str, Any]]
    output_parameters: Mapped[dict[str, Any]]
    properties: Mapped[dict[str, Any]]
    output_count: Mapped[int]
    error: Mapped[str | None]
    process_id: Mapped[int] = mapped_column(ForeignKey("process.id"))
    create_time_since_epoch: Mapped[int] = mapped_column(BigInteger)
    end_time_since_epoch: Mapped[int | None] = mapped_column(BigInteger)


class ArtifactRow(Table):
    """Something that lies, or lay, at a URI."""

    __tablename__ = "artifact"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    type: Mapped[str]
    name: Mapped[str]
    uri: Mapped[str] = mapped_column(index=True)
    state: Mapped[str]
    digest: Mapped[str | None] = mapped_column(index=True)
    properties: Mapped[dict[str, Any]]
    create_time_since_epoch: Mapped[int] = mapped_column(BigInteger)
    last_update_time_since_epoch: Mapped[int] = mapped_column(BigInteger)


class EventRow(Table):
    """An execution consumed (`INPUT`) or produced (`OUTPUT`) an artifact.

    `name` and `position` are MLMD's event path: the input's or output's name, and the index in it.
    """

    __tablename__ = "event"
    __table_args__ = (
        UniqueConstraint("execution_id", "type", "name", "position"),
        Index(None, "artifact_id", "type", "id"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    artifact_id: Mapped[int] = mapped_column(ForeignKey("artifact.id"))
    execution_id: Mapped[int] = mapped_column(ForeignKey("execution.id"))
    type: Mapped[str]
    name: Mapped[str]
    position: Mapped[int]
    time_since_epoch: Mapped[int] = mapped_column(BigInteger)


class AssociationRow(Table):
    """An execution belongs to a context."""

    __tablename__ = "association"

    context_id: Mapped[int] = mapped_column(ForeignKey("context.id"), primary_key=True)
    execution_id: Mapped[int] = mapped_column(
        ForeignKey("execution.id"), primary_key=True, index=True
    )


class AttributionRow(Table):
    """An artifact belongs to a context: it was made in that run, or came to it from the cache."""

    __tablename__ = "attribution"

    context_id: Mapped[int] = mapped_column(ForeignKey("context.id"), primary_key=True)
    artifact_id: Mapped[int] = mapped_column(
        ForeignKey("artifact.id"), primary_key=True, index=True
    )


class ClaimRow(Table):
    """A process is computing what this cache key stands for; others wait for it."""

    __tablename__ = "claim"

    cache_key: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[str]
    owner: Mapped[str]
    process_id: Mapped[int] = mapped_column(ForeignKey("process.id"))
    create_time_since_epoch: Mapped[int] = mapped_column(BigInteger)
