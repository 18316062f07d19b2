"""How likely is every flight of a month to be late? The champion of `flights` says."""

from kfp import dsl

from ...components import bulk_inferrer, champion_resolver, example_gen
from ..flights.pipeline import flights_spans

# What tells a flight from another, and what happened in the end.
KEPT = ["month", "day", "hour", "carrier", "flight", "origin", "dest", "late"]


@dsl.pipeline(name="flights-scoring", description="How likely is each flight to be late?")
def flights_scoring_pipeline(
    span: int = 3,
    rows_per_month: int = 0,
    registry: str = "penstock-runs/registry",
):
    """Predict a month with the champion; a product without one has nothing to predict with.

    Args:
        span: The month, 1 to 12.
        rows_per_month: Take about this many rows of each month; 0 takes all.
        registry: Where the champion is known: a folder, or the URI of an MLflow server.
    """
    spans = flights_spans(rows_per_month=rows_per_month)
    resolved = champion_resolver(registry=registry, product="flights")
    resolved.set_caching_options(False)
    with dsl.If(resolved.outputs["found"] == True, name="has-champion"):  # noqa: E712
        examples = example_gen(
            source=spans.outputs["spans"],
            pattern="span-{SPAN}/flights.csv",
            first_span=span,
            last_span=span,
            splits={"all": 1.0},
        ).outputs["examples"]
        bulk_inferrer(
            examples=examples,
            model=resolved.outputs["champion"],
            blessing=resolved.outputs["blessing"],
            columns=KEPT,
            outputs={"predictions": "chance"},
        )
