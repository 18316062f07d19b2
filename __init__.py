"""Penstock: Kubeflow Pipelines components and the gates that let only good data and good models through."""

__version__ = "0.1.0"
