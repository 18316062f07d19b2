"""What a run of the flights pipeline made."""

from pathlib import Path

from penstock.metadata.store import Store
from penstock.metadata.values import Artifact

# What holds no times, paths or random ids: byte for byte the same in every run.
REPEATED = {
    "example-gen/examples",
    "statistics-gen/statistics",
    "schema-gen/schema",
    "example-validator/anomalies",
    "example-validator/cleaned_examples",
    "transform/transform_graph",
    "evaluator/evaluation",
}


def artifacts_of(root: Path) -> dict[str, Artifact]:
    """Return the artifacts of the latest run below a root, by step and output."""
    with Store.open(root / "metadata.sqlite", create=False) as store:
        return {
            f"{step.task}/{output}": artifact
            for step in store.executions(store.run("latest").id)
            for output, (artifact,) in step.outputs.items()
        }
