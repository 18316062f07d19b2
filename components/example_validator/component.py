from kfp import dsl

from ..artifacts import Anomalies, Examples, Schema, Statistics
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def example_validator(
    statistics: dsl.Input[Statistics],
    schema: dsl.Input[Schema],
    anomalies: dsl.Output[Anomalies],
    cleaned_examples: dsl.Output[Examples],
    report: dsl.Output[dsl.HTML],
    findings: dsl.Output[dsl.Markdown],
    # Inside Optional, kfp would neither import the class nor be able to make one of it.
    examples: dsl.Input[Examples] = None,
    previous_statistics: dsl.Input[Statistics] = None,
    serving_statistics: dsl.Input[Statistics] = None,
    previous_anomalies: dsl.Input[Anomalies] = None,
    policy: str = "",
    environment: str = "",
) -> None:
    """Stop the pipeline when the data is not as it should be; say what is wrong, and which rows.

    Args:
        statistics: The data's statistics, every split of which is validated.
        schema: What the data must be like.
        examples: The data itself: rows that offend are named, counted, and put aside. Needed by
            rules over rows, tolerated shares and quarantine.
        previous_statistics: Statistics of the previous span: finds drift.
        serving_statistics: Statistics of what is served: finds skew.
        previous_anomalies: What the previous span's validation found: tells since when an anomaly
            has been there.
        policy: What each anomaly does, and rules of your own: the text of a YAML file.
        environment: The environment of the schema to validate in, such as `SERVING`; features
            that are not in it may be absent.

    Returns:
        anomalies: TFDV's `anomalies.pbtxt` per split, the rows that offend, and `verdict.json`.
        cleaned_examples: The examples without the rows in quarantine; the same as the examples when
            there are none, and empty without examples.
        report: The verdict as a page, for Kubeflow's UI.
        findings: The verdict in short, for Kubeflow's UI.
    """
    from penstock.components.example_validator.executor import validate_examples

    summary = validate_examples(
        statistics.path,
        schema.path,
        anomalies.path,
        policy,
        environment,
        examples_path=examples.path if examples else None,
        previous_statistics_path=previous_statistics.path if previous_statistics else None,
        serving_statistics_path=serving_statistics.path if serving_statistics else None,
        previous_anomalies_path=previous_anomalies.path if previous_anomalies else None,
        cleaned_examples_path=cleaned_examples.path,
        report_path=report.path,
        digest_path=findings.path,
    )
    anomalies.metadata.update(summary)
    cleaned_examples.metadata["quarantined"] = summary["quarantined"]
