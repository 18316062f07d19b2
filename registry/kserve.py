"""InferenceServices on a cluster: read, and applied by the server's own merge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..clusters import connect, own_namespace, reason
from ..errors import PenstockError
from .inference_service import (
    API_VERSION,
    KIND,
    KServe,
    Service,
    facts_of,
    kind_of,
    manifest,
    settings_of,
)
from .object_store import open_bucket, writing
from .serving_bucket import Claim, claim_with, complete
from .versions import Version

# Who owns the fields that Penstock writes; those that others write stay as they are.
MANAGER = "penstock"
_PATH = f"/apis/{API_VERSION}/namespaces/{{namespace}}/inferenceservices/{{name}}"


def settled(settings: KServe) -> KServe:
    """Fill in the namespace that is meant: the step's own, or the kubeconfig's.

    Raises:
        NoClusterError: There is no cluster.
    """
    connect("serve on")
    if settings.namespace:
        return settings
    from kubernetes import config

    namespace = own_namespace()
    if not namespace:
        _, active = config.list_kube_config_contexts()
        namespace = active["context"].get("namespace", "default")
    return replace(settings, namespace=namespace)


def read_service(namespace: str, name: str) -> dict[str, Any] | None:
    """Return an InferenceService as it is; None if there is none.

    Raises:
        PenstockError: There is no cluster, it has no KServe, or it refuses.
    """
    return _call("GET", namespace, name, None)


def version_at(service: Service, found: Version) -> Claim | None:
    """Return where a version lies for an InferenceService; None if it is not there."""
    bucket = open_bucket(service.url)
    with writing(bucket):
        claim = claim_with(bucket, found.digest, for_kserve=True)
        return claim if claim is not None and complete(bucket, claim) else None


def manifest_of(service: Service, found: Version) -> dict[str, Any]:
    """Return the object that serves another version, all of it, as the service is now.

    Raises:
        PenstockError: The service is not there, was not made by Penstock, or the version's files
            are not in the object store any more.
    """
    now = read_service(service.namespace, service.name)
    if now is None:
        raise PenstockError(
            f"There is no InferenceService {service.namespace}/{service.name} any more; push to it "
            "again, or give --destination ''."
        )
    claim = version_at(service, found)
    if claim is None:
        raise PenstockError(
            f"{service.url} does not hold version {found.number} of {found.product} any more; "
            "promote that version, which copies it from the registry."
        )
    kind = kind_of(claim, found.facts)
    return manifest(settings_of(now), service.url, claim, kind, facts=facts_of(found))


def apply(wanted: Mapping[str, Any], *, dry_run: bool = False) -> None:
    """Make or change an InferenceService; fields that others own stay theirs.

    Args:
        wanted: The object, with a namespace.
        dry_run: Only see whether the cluster would take it.

    Raises:
        PenstockError: There is no cluster, it has no KServe, or it refuses; nothing has changed.
    """
    metadata = wanted["metadata"]
    _call("PATCH", metadata["namespace"], metadata["name"], wanted, dry_run=dry_run)


def _call(
    method: str,
    namespace: str,
    name: str,
    body: Mapping[str, Any] | None,
    *,
    dry_run: bool = False,
) -> dict[str, Any] | None:
    import urllib3

    client = connect("serve on")
    query = [("fieldManager", MANAGER), ("fieldValidation", "Strict")] if body else []
    if dry_run:
        query.append(("dryRun", "All"))
    headers = {"Accept": "application/json", "Content-Type": "application/apply-patch+yaml"}
    try:
        found: dict[str, Any] = client.ApiClient().call_api(
            _PATH.format(namespace=namespace, name=name),
            method,
            query_params=query,
            header_params=headers,
            body=body,
            response_type="object",
            auth_settings=["BearerToken"],
            _return_http_data_only=True,
            _request_timeout=(10, 60),
        )
    except client.ApiException as error:
        if error.status == 404 and method == "GET" and "not found" in reason(error):
            return None
        raise _refused(error, namespace, name) from error
    except urllib3.exceptions.HTTPError as error:
        host = client.Configuration.get_default_copy().host
        raise PenstockError(
            f"The Kubernetes cluster at {host} does not answer ({type(error).__name__}); see that "
            "it is up and that this machine reaches it."
        ) from error
    return found


def _refused(error: Any, namespace: str, name: str) -> PenstockError:
    what = f"the {KIND} {namespace}/{name}"
    words = " ".join(reason(error).split())
    if error.status == 404 and "namespaces" not in words:
        return PenstockError(
            f"The cluster knows no {KIND} ({API_VERSION}); install KServe, or push without kserve."
        )
    if error.status == 409:
        return PenstockError(
            f"Somebody else has set fields of {what} to other values ({words}); undo that, or "
            f"take them over once: kubectl apply --server-side --field-manager={MANAGER} "
            "--force-conflicts -f inference_service.yaml."
        )
    if error.status in (401, 403):
        return PenstockError(
            f"The cluster does not let this account change {what} ({words}); give its service "
            "account the verbs get, create and patch on inferenceservices."
        )
    return PenstockError(f"The cluster refuses {what}: {words}.")
