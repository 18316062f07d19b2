"""The running example: will a flight from New York arrive more than 15 minutes late?"""

from .pipeline import flights_pipeline

__all__ = ["flights_pipeline"]
