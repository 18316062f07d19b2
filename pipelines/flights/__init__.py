"""The running example: will a flight from New York arrive more than 15 minutes late?"""

from kfp import dsl

# Inside a running step kfp.dsl loads its runtime half alone, and no pipeline is declared.
if hasattr(dsl, "pipeline"):
    from .pipeline import flights_pipeline

    __all__ = ["flights_pipeline"]
