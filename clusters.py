"""The Kubernetes cluster that a step or a command finds, and what it answers, in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .errors import PenstockError

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class NoClusterError(PenstockError):
    """There is no cluster here: the package is missing, or nothing says where the cluster is."""


def connect(what: str, extra: str = "runtime") -> Any:
    """Return the package `kubernetes.client`, set up for the cluster at hand.

    Args:
        what: What is to be done there, for the error, such as `train on`.
        extra: The extra of penstock that brings the package.

    Raises:
        NoClusterError: The package is not installed, or there is no cluster.
    """
    try:
        from kubernetes import client, config
    except ImportError as error:
        raise NoClusterError(
            f"A Kubernetes cluster to {what} takes the package kubernetes, which is not installed; "
            f"install penstock[{extra}]."
        ) from error
    try:
        if _ACCOUNT.exists():
            config.load_incluster_config()
        else:
            config.load_kube_config()
    except config.ConfigException as error:
        raise NoClusterError(
            f"There is no Kubernetes cluster to {what} ({str(error).rstrip('.')}); run the step on "
            "a cluster, or set KUBECONFIG."
        ) from error
    return client


def own_namespace() -> str:
    """Return the namespace of the pod that this runs in; empty where this is none."""
    return _ACCOUNT.read_text().strip() if _ACCOUNT.exists() else ""


def reason(error: Any) -> str:
    """Return the API server's own words on what it refused, or the status."""
    try:
        return str(json.loads(error.body)["message"]).strip().rstrip(".")
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}"
