"""The champion of `flights` at work: how likely is every flight of a month to be late?"""

from kfp import dsl

# Inside a running step kfp.dsl loads its runtime half alone, and no pipeline is declared.
if hasattr(dsl, "pipeline"):
    from .pipeline import flights_scoring_pipeline

    __all__ = ["flights_scoring_pipeline"]
