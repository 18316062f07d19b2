"""A pipeline of every component, small: what the tests of the images run in them."""

from kfp import dsl

from penstock import components as penstock
from penstock.pipelines.flights.pipeline import DATA_POLICY, MODULE, flights_spans
from penstock.schemas import pinned_schema, schema_text

# Bounds that any model holds: its quality is not what is tested.
EVAL_CONFIG = """
model_specs { label_key: "late" }
slicing_specs {}
slicing_specs { feature_keys: "origin" }
metrics_specs { metrics {
  class_name: "AUC"
  config: '"name": "auc"'
  threshold { value_threshold { lower_bound { value: 0.1 } } }
} }
"""


@dsl.pipeline(name="every-component")
def every_component(registry: str, destination: str, rows_per_month: int = 2000):
    """Train on the flights of three months, with a search, gates on both sides, and predictions.

    Args:
        registry: A folder that holds no registry yet, or one.
        destination: The folder to push to.
        rows_per_month: Take about this many rows of each month.
    """
    examples = penstock.example_gen(
        source=flights_spans(rows_per_month=rows_per_month).outputs["spans"],
        pattern="span-{SPAN}/flights.csv",
        first_span=1,
        last_span=3,
    ).outputs["examples"]
    statistics = penstock.statistics_gen(examples=examples).outputs["statistics"]
    schema = penstock.schema_gen(**pinned_schema(schema_text("flights"))).outputs["schema"]
    valid = penstock.example_validator(
        statistics=statistics, schema=schema, examples=examples, policy=DATA_POLICY
    ).outputs["cleaned_examples"]
    penstock.skew_detector(
        training_examples=examples,
        serving_examples=valid,
        keys=["time_hour", "carrier", "flight", "origin"],
        training_splits=["train"],
        serving_splits=["train"],
        environment="",
    )
    data = {"examples": valid, "schema": schema, "module": MODULE}
    graph = penstock.transform(statistics=statistics, **data).outputs["transform_graph"]
    found = penstock.tuner(label="late", trials=2, folds=2, train_steps=20, **data)
    model = penstock.trainer(
        transform_graph=graph,
        label="late",
        train_steps=100,
        best_hyperparameters=found.outputs["best_hyperparameters"],
        **data,
    ).outputs["model"]
    known = {"registry": registry, "product": "flights"}
    champion = penstock.champion_resolver(**known).outputs["champion"]
    gate = penstock.evaluator(
        examples=valid, model=model, champion=champion, eval_config=EVAL_CONFIG, replicates=20
    )
    blessed = {"model": model, "blessing": gate.outputs["blessing"]}
    # As wide as a laden machine needs: how fast it is, is not what is tested.
    budgets = {
        "startup_seconds": 600,
        "timeout_seconds": 900,
        "batches": [{"rows": 1}, {"rows": 32}],
    }
    penstock.infra_validator(model=model, examples=valid, schema=schema, policy=budgets)
    penstock.bulk_inferrer(examples=valid, splits=["eval"], **blessed)
    penstock.pusher(destination=destination, **known, **blessed)
