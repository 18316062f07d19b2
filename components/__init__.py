"""The steps that pipelines are made of. Importing this package loads KFP and nothing heavier."""

from kfp import dsl

from ..training.author_code import author_file, author_wheel

__all__ = ["author_file", "author_wheel"]

# Inside a running step kfp.dsl loads its runtime half alone, and no component is declared.
if hasattr(dsl, "component"):
    from .bulk_inferrer.component import bulk_inferrer
    from .champion_resolver.component import champion_resolver
    from .evaluator.component import evaluator
    from .example_gen.component import example_gen
    from .example_validator.component import example_validator
    from .infra_validator.component import infra_validator
    from .pusher.component import pusher
    from .schema_gen.component import schema_gen
    from .skew_detector.component import skew_detector
    from .statistics_gen.component import statistics_gen
    from .trainer.component import trainer
    from .transform.component import transform
    from .tuner.component import tuner

    __all__ += [
        "bulk_inferrer",
        "champion_resolver",
        "evaluator",
        "example_gen",
        "example_validator",
        "infra_validator",
        "pusher",
        "schema_gen",
        "skew_detector",
        "statistics_gen",
        "trainer",
        "transform",
        "tuner",
    ]
