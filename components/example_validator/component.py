from kfp import dsl

from ..artifacts import Anomalies, Schema, Statistics
from ..image import image


@dsl.component(base_image=image("components"), install_kfp_package=False)
def example_validator(
    statistics: dsl.Input[Statistics],
    schema: dsl.Input[Schema],
    anomalies: dsl.Output[Anomalies],
    on_anomalies: str = "fail",
    environment: str = "",
) -> None:
    """Stop the pipeline when the data breaks the schema or a split has no rows.

    Args:
        statistics: The data's statistics, every split of which is validated.
        schema: What the data must be like.
        on_anomalies: `fail` fails the step on an anomaly of severity ERROR or an empty split;
            `warn` records it and lets the pipeline go on.
        environment: The environment of the schema to validate in, such as `SERVING`; features
            that are not in it may be absent.

    Returns:
        anomalies: TFDV's `anomalies.pbtxt` per split, and `verdict.json`.
    """
    from penstock.components.example_validator.executor import validate_examples

    summary = validate_examples(
        statistics.path, schema.path, anomalies.path, on_anomalies, environment
    )
    anomalies.metadata.update(summary)
