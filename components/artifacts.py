"""The artifact types that flow between steps.

Each is a KFP artifact whose `path` is a folder; docs/formats.md says what lies in it. KFP refuses
schema titles outside the `system.` namespace at compile time, hence the prefix.

By convention every executor returns a dictionary for its output's `metadata`, which Kubeflow's UI
and `penstock run` show. Its key `summary` is one line for people.
"""

from kfp import dsl


class Examples(dsl.Artifact):
    """Rows of data: `Split-<name>/part-*.parquet` and `manifest.json`."""

    schema_title = "system.Examples"


class Statistics(dsl.Artifact):
    """TFDV statistics per split: `Split-<name>/stats.binpb` (`DatasetFeatureStatisticsList`)."""

    schema_title = "system.Statistics"


class Schema(dsl.Artifact):
    """A TensorFlow Metadata schema: `schema.pbtxt`."""

    schema_title = "system.Schema"


class Anomalies(dsl.Artifact):
    """What the data gate found: `verdict.json`, a page, TFDV's anomalies and rows per split."""

    schema_title = "system.Anomalies"


class TransformGraph(dsl.Artifact):
    """Fitted preprocessing: `preprocessing.keras` and `transform.json`."""

    schema_title = "system.TransformGraph"


class HyperParameters(dsl.Artifact):
    """What a tuner found best: `hyperparameters.json`."""

    schema_title = "system.HyperParameters"


class Model(dsl.Model):
    """A trained model of any kind: `serving/`, `model.json` (provenance) and `metrics.json`."""


class Evaluation(dsl.Artifact):
    """TFMA's own output and `metrics.json` per slice."""

    schema_title = "system.Evaluation"


class Blessing(dsl.Artifact):
    """The model gate's verdict: `blessing.json` and `blessing.html`, written blessed or not."""

    schema_title = "system.Blessing"


class InfraBlessing(dsl.Artifact):
    """Whether the exported model can be served: `infra_blessing.json`, `infra_blessing.html`.

    Of a SavedModel also `warmup/tf_serving_warmup_requests`, when they could be made.
    """

    schema_title = "system.InfraBlessing"


class PushedModel(dsl.Artifact):
    """Where a model went: `pushed.json` (destination, version, content digest)."""

    schema_title = "system.PushedModel"
