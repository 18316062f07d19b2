"""Penstock: Kubeflow Pipelines components with gates for data and models.

Only good data reaches training, and only good models reach production.
"""

__version__ = "0.1.0"
