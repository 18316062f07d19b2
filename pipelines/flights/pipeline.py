"""Will a flight from New York arrive more than 15 minutes late? From CSV to a pushed model."""

from importlib import resources

from kfp import dsl

from ...components import (
    champion_resolver,
    evaluator,
    example_gen,
    example_validator,
    infra_validator,
    pusher,
    schema_gen,
    statistics_gen,
    trainer,
    transform,
)
from ...components.image import image
from ...schemas import pinned_schema, schema_text

MODULE = "penstock.pipelines.flights.model"
EVAL_CONFIG = resources.files(__package__).joinpath("eval_config.pbtxt").read_text()
DATA_POLICY = resources.files(__package__).joinpath("data_policy.yaml").read_text()

# Wide enough for a busy laptop: tighten it to what your service promises.
INFRA_POLICY = {
    "startup_seconds": 240,
    "batches": [{"rows": 1, "p99_ms": 10_000}, {"rows": 1024, "p99_ms": 20_000}],
}


@dsl.component(base_image=image("components"), install_kfp_package=False)
def flights_spans(spans: dsl.Output[dsl.Dataset], rows_per_month: int = 0):
    """Write the packaged flights of 2013 as one CSV file a month.

    Args:
        rows_per_month: Take about this many rows of each month; 0 takes all.

    Returns:
        spans: `span-01/flights.csv` to `span-12/flights.csv`.
    """
    from penstock.pipelines.flights.spans import write_spans

    spans.metadata.update(write_spans(spans.path, rows_per_month))


@dsl.pipeline(name="flights", description="Will a flight arrive more than 15 minutes late?")
def flights_pipeline(
    first_span: int = 1,
    last_span: int = 2,
    rows_per_month: int = 0,
    train_steps: int = 600,
    seed: int = 0,
    destination: str = "penstock-runs/serving/flights",
    registry: str = "penstock-runs/registry",
):
    """Train on some months, compare with the champion, and push the model if it is blessed.

    Args:
        first_span: The first month, 1 to 12.
        last_span: The last month, 1 to 12.
        rows_per_month: Take about this many rows of each month; 0 takes all.
        train_steps: Batches to train on.
        seed: Fixes the initial weights and the order of the rows.
        destination: The folder that TensorFlow Serving watches.
        registry: Where the champion is known: a folder, or the URI of an MLflow server.
    """
    spans = flights_spans(rows_per_month=rows_per_month)
    examples = example_gen(
        source=spans.outputs["spans"],
        pattern="span-{SPAN}/flights.csv",
        first_span=first_span,
        last_span=last_span,
    ).outputs["examples"]
    statistics = statistics_gen(examples=examples).outputs["statistics"]
    schema = schema_gen(**pinned_schema(schema_text("flights"))).outputs["schema"]
    valid = example_validator(
        statistics=statistics, schema=schema, examples=examples, policy=DATA_POLICY
    ).outputs["cleaned_examples"]
    graph = transform(examples=valid, statistics=statistics, schema=schema, module=MODULE)
    trained = trainer(
        examples=valid,
        transform_graph=graph.outputs["transform_graph"],
        schema=schema,
        module=MODULE,
        label="late",
        train_steps=train_steps,
        seed=seed,
    )
    resolved = champion_resolver(registry=registry, product="flights")
    evaluated = evaluator(
        examples=valid,
        model=trained.outputs["model"],
        champion=resolved.outputs["champion"],
        eval_config=EVAL_CONFIG,
        policy={"mode": "confident", "slices": "not_disproven"},
    )
    served = infra_validator(
        model=trained.outputs["model"], examples=valid, schema=schema, policy=INFRA_POLICY
    )
    with dsl.If(evaluated.outputs["blessed"] == True, name="blessed"):  # noqa: E712
        pushed = pusher(
            model=trained.outputs["model"],
            blessing=evaluated.outputs["blessing"],
            infra_blessing=served.outputs["infra_blessing"],
            destination=destination,
            registry=registry,
            product="flights",
            pipeline="flights",
            run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        )
    # The registry and the destination know what is champion and what is served; the cache does not.
    resolved.set_caching_options(False)
    pushed.set_caching_options(False)
