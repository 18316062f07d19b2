"""Will a flight from New York arrive more than 15 minutes late? From CSV to a pushed model."""

from importlib import resources

from kfp import dsl

from ...components import (
    evaluator,
    example_gen,
    example_validator,
    pusher,
    schema_gen,
    statistics_gen,
    trainer,
    transform,
)
from ...components.image import image
from ...schemas import schema_text

MODULE = "penstock.pipelines.flights.model"
EVAL_CONFIG = resources.files(__package__).joinpath("eval_config.pbtxt").read_text()


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
):
    """Train on some months, evaluate, and push the model if it is blessed.

    Args:
        first_span: The first month, 1 to 12.
        last_span: The last month, 1 to 12.
        rows_per_month: Take about this many rows of each month; 0 takes all.
        train_steps: Batches to train on.
        seed: Fixes the initial weights and the order of the rows.
        destination: The folder that TensorFlow Serving watches.
    """
    spans = flights_spans(rows_per_month=rows_per_month)
    examples = example_gen(
        source=spans.outputs["spans"],
        pattern="span-{SPAN}/flights.csv",
        first_span=first_span,
        last_span=last_span,
    ).outputs["examples"]
    statistics = statistics_gen(examples=examples).outputs["statistics"]
    schema = schema_gen(schema_text=schema_text("flights")).outputs["schema"]
    validated = example_validator(statistics=statistics, schema=schema)
    graph = transform(examples=examples, statistics=statistics, schema=schema, module=MODULE).after(
        validated
    )
    trained = trainer(
        examples=examples,
        transform_graph=graph.outputs["transform_graph"],
        schema=schema,
        module=MODULE,
        label="late",
        train_steps=train_steps,
        seed=seed,
    )
    evaluated = evaluator(
        examples=examples, model=trained.outputs["model"], eval_config=EVAL_CONFIG
    )
    with dsl.If(evaluated.outputs["blessed"] == True, name="blessed"):  # noqa: E712
        pushed = pusher(
            model=trained.outputs["model"],
            blessing=evaluated.outputs["blessing"],
            destination=destination,
        )
        # The destination knows whether the model is there; the cache does not.
        pushed.set_caching_options(False)
