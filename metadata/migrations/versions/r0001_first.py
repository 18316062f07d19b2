"""The first schema: processes, contexts, runs, executions, artifacts, events and claims."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "artifact",
        sa.Column("id", ID, nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("uri", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=True),
        sa.Column("properties", sa.JSON(), nullable=False),
        sa.Column("create_time_since_epoch", sa.BigInteger(), nullable=False),
        sa.Column("last_update_time_since_epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_artifact"),
    )
    op.create_index("ix_artifact_digest", "artifact", ["digest"])
    op.create_index("ix_artifact_uri", "artifact", ["uri"])
    op.create_table(
        "context",
        sa.Column("id", ID, nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("create_time_since_epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_context"),
        sa.UniqueConstraint("type", "name", name="uq_context_type_name"),
    )
    op.create_table(
        "process",
        sa.Column("id", ID, nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("boot_id", sa.String(), nullable=False),
        sa.Column("pid_namespace", sa.String(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("start_ticks", sa.BigInteger(), nullable=False),
        sa.Column("heartbeat_time_since_epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_process"),
    )
    op.create_table(
        "attribution",
        sa.Column("context_id", ID, nullable=False),
        sa.Column("artifact_id", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact_id"], ["artifact.id"], name="fk_attribution_artifact_id"
        ),
        sa.ForeignKeyConstraint(["context_id"], ["context.id"], name="fk_attribution_context_id"),
        sa.PrimaryKeyConstraint("context_id", "artifact_id", name="pk_attribution"),
    )
    op.create_index("ix_attribution_artifact_id", "attribution", ["artifact_id"])
    op.create_table(
        "claim",
        sa.Column("cache_key", sa.String(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("process_id", ID, nullable=False),
        sa.Column("create_time_since_epoch", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["process_id"], ["process.id"], name="fk_claim_process_id"),
        sa.PrimaryKeyConstraint("cache_key", name="pk_claim"),
    )
    op.create_table(
        "execution",
        sa.Column("id", ID, nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("last_known_state", sa.String(), nullable=False),
        sa.Column("cache_key", sa.String(), nullable=True),
        sa.Column("key_parts", sa.JSON(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("output_parameters", sa.JSON(), nullable=False),
        sa.Column("properties", sa.JSON(), nullable=False),
        sa.Column("output_count", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("process_id", ID, nullable=False),
        sa.Column("create_time_since_epoch", sa.BigInteger(), nullable=False),
        sa.Column("end_time_since_epoch", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["process_id"], ["process.id"], name="fk_execution_process_id"),
        sa.PrimaryKeyConstraint("id", name="pk_execution"),
    )
    op.create_index(
        "ix_execution_cache_key_last_known_state", "execution", ["cache_key", "last_known_state"]
    )
    op.create_index("ix_execution_last_known_state", "execution", ["last_known_state"])
    op.create_index("ix_execution_type_id", "execution", ["type", "id"])
    op.create_table(
        "parent_context",
        sa.Column("context_id", ID, nullable=False),
        sa.Column("parent_context_id", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["context_id"], ["context.id"], name="fk_parent_context_context_id"
        ),
        sa.ForeignKeyConstraint(
            ["parent_context_id"], ["context.id"], name="fk_parent_context_parent_context_id"
        ),
        sa.PrimaryKeyConstraint("context_id", "parent_context_id", name="pk_parent_context"),
    )
    op.create_index("ix_parent_context_parent_context_id", "parent_context", ["parent_context_id"])
    op.create_table(
        "run",
        sa.Column("context_id", ID, nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("pipeline", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("spec_digest", sa.String(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("properties", sa.JSON(), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("process_id", ID, nullable=False),
        sa.Column("create_time_since_epoch", sa.BigInteger(), nullable=False),
        sa.Column("end_time_since_epoch", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["context_id"], ["context.id"], name="fk_run_context_id"),
        sa.ForeignKeyConstraint(["process_id"], ["process.id"], name="fk_run_process_id"),
        sa.PrimaryKeyConstraint("context_id", name="pk_run"),
        sa.UniqueConstraint("run_id", name="uq_run_run_id"),
    )
    op.create_index(
        "ix_run_pipeline_create_time_since_epoch", "run", ["pipeline", "create_time_since_epoch"]
    )
    op.create_index("ix_run_state", "run", ["state"])
    op.create_table(
        "association",
        sa.Column("context_id", ID, nullable=False),
        sa.Column("execution_id", ID, nullable=False),
        sa.ForeignKeyConstraint(["context_id"], ["context.id"], name="fk_association_context_id"),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["execution.id"], name="fk_association_execution_id"
        ),
        sa.PrimaryKeyConstraint("context_id", "execution_id", name="pk_association"),
    )
    op.create_index("ix_association_execution_id", "association", ["execution_id"])
    op.create_table(
        "event",
        sa.Column("id", ID, nullable=False),
        sa.Column("artifact_id", ID, nullable=False),
        sa.Column("execution_id", ID, nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("time_since_epoch", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["artifact_id"], ["artifact.id"], name="fk_event_artifact_id"),
        sa.ForeignKeyConstraint(["execution_id"], ["execution.id"], name="fk_event_execution_id"),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
        sa.UniqueConstraint(
            "execution_id",
            "type",
            "name",
            "position",
            name="uq_event_execution_id_type_name_position",
        ),
    )
    op.create_index("ix_event_artifact_id_type_id", "event", ["artifact_id", "type", "id"])
