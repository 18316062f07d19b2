from typing import Any, Dict, List, Optional

from kfp import dsl

from ..artifacts import Anomalies, Examples, Schema, Statistics
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def skew_detector(
    skew: dsl.Output[Anomalies],
    report: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
    metrics: dsl.Output[dsl.Metrics],
    # Inside Optional, kfp would neither import the class nor be able to make one of it.
    training_examples: dsl.Input[Examples] = None,
    serving_examples: dsl.Input[Examples] = None,
    training_statistics: dsl.Input[Statistics] = None,
    serving_statistics: dsl.Input[Statistics] = None,
    schema: dsl.Input[Schema] = None,
    keys: Optional[List[str]] = None,
    training_splits: Optional[List[str]] = None,
    serving_splits: Optional[List[str]] = None,
    environment: str = "SERVING",
    exclude_features: Optional[List[str]] = None,
    tolerance: Dict[str, float] = {"relative": 1e-6, "absolute": 0.0},
    duplicates: str = "refuse",
    max_skew: Dict[str, float] = {"*": 0.01},
    min_pairs: int = 1000,
    rules: Optional[List[Dict[str, Any]]] = None,
    severity: Dict[str, str] = {"schema": "fail", "distribution": "fail", "key": "fail"},
    samples: int = 5,
    beam_pipeline_args: Optional[List[str]] = None,
) -> None:
    """Stop the pipeline when serving does not see what training saw.

    Three parts: the columns and their types; the distributions; and, with keys, the values
    themselves, row by row.

    Args:
        training_examples: What training reads; needed for keys, or where there are no statistics.
        serving_examples: Rows as serving logged them; likewise.
        training_statistics: Statistics of training, in place of a pass over its examples.
        serving_statistics: Statistics of serving, likewise.
        schema: Says which features serving rows do not have, and which values are accepted.
        keys: Columns that tell which serving row is which training row; no comparison by key
            without.
        training_splits: Splits of training to use; all by default.
        serving_splits: Splits of serving to use; all by default.
        environment: The environment of the schema that serving rows belong to.
        exclude_features: Columns to leave out of every part.
        tolerance: `relative` and `absolute`: how far apart two numbers of a pair may lie, one of
            them a float, and be the same.
        duplicates: What becomes of keys that occur more than once on a side: `refuse`, `drop`,
            `first` or `all`.
        max_skew: The share of pairs, in [0, 1], that may differ, by patterns of features; the last
            pattern that fits holds.
        min_pairs: With fewer pairs by key the answer is INSUFFICIENT.
        rules: How distributions are measured, such as `[{"measure": "l_infinity", "features":
            "carrier", "threshold": 0.05}]`; the defaults of `penstock.drift` when not given.
        severity: What each part's findings do: `fail`, `warn`, or `ignore`, which leaves it out.
        samples: How many differing pairs are kept of each feature.
        beam_pipeline_args: Beam's flags, such as `--runner=FlinkRunner`; in this process by
            default.

    Returns:
        skew: `verdict.json`, what was found, and `samples.parquet`, pairs that differ.
        report: The page, for Kubeflow's UI.
        summary: The same in a few lines.
        metrics: Rows, pairs, the share of pairs that differ, and how many features fail.
    """
    from penstock.components.skew_detector.executor import detect_skew

    found = detect_skew(
        skew.path,
        training_examples_path=training_examples.path if training_examples else None,
        serving_examples_path=serving_examples.path if serving_examples else None,
        training_statistics_path=training_statistics.path if training_statistics else None,
        serving_statistics_path=serving_statistics.path if serving_statistics else None,
        schema_path=schema.path if schema else None,
        report_path=report.path,
        summary_path=summary.path,
        keys=keys,
        training_splits=training_splits,
        serving_splits=serving_splits,
        environment=environment,
        exclude_features=exclude_features,
        tolerance=tolerance,
        duplicates=duplicates,
        max_skew=max_skew,
        min_pairs=min_pairs,
        rules=rules,
        severity=severity,
        samples=samples,
        beam_pipeline_args=beam_pipeline_args,
    )
    skew.metadata.update(found.metadata)
    metrics.metadata.update(found.metrics)
    found.stop()
