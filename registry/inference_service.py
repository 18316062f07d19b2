"""A model as KServe serves it: an InferenceService (serving.kserve.io/v1beta1), from few settings.

The settings are kept in an annotation of the object itself, so that a rollback at night can write
the same object for an earlier version, from wherever it is called.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import PenstockError
from .serving_bucket import Claim
from .versions import Version

API_VERSION = "serving.kserve.io/v1beta1"
KIND = "InferenceService"
PREFIX = "penstock.dev/"
SETTINGS = f"{PREFIX}kserve"
VERSION = f"{PREFIX}model-version"
# Names of KServe's model formats. Its own server for the first takes our models as they are. Those
# for the others do not: sklearnserver reads pickles, xgbserver and lgbserver read a folder with one
# file in it, and none applies the preprocessing that lies beside ours.
_FORMATS = {
    "saved_model": "tensorflow",
    "sklearn": "sklearn",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
}
# KServe makes a host name of it: a DNS label (RFC 1035) that leaves room for its endings.
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,48}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_WHERE = re.compile(rf"{KIND} ([^/ ]*)/([^/ ]+), (\S+)/(\d+)/")


@dataclass(frozen=True)
class KServe:
    """How KServe serves a model.

    Attributes:
        name: Of the InferenceService.
        namespace: Where; the step's own, or the one of the kubeconfig, when empty.
        canary_traffic_percent: So much of the traffic goes to the new version, 0 to 100, the rest
            to the one before; None for all.
        runtime: The ServingRuntime; needed for all but SavedModels.
        model_format: The format's name; by the model's kind when empty.
        protocol_version: `v1`, `v2` or `grpc-v2`, for runtimes that speak several.
        service_account: Whose secrets open the bucket.
        resources: `requests` and `limits` of the server, as Kubernetes writes them.
        min_replicas: Fewest servers; KServe decides when None.
        max_replicas: Most servers; KServe decides when None.
        labels: More labels.
        annotations: More annotations, such as `serving.kserve.io/deploymentMode`.
    """

    name: str
    namespace: str = ""
    canary_traffic_percent: int | None = None
    runtime: str = ""
    model_format: str = ""
    protocol_version: str = ""
    service_account: str = ""
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    min_replicas: int | None = None
    max_replicas: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Service:
    """An InferenceService, and the place in an object store that it is served from."""

    namespace: str
    name: str
    url: str

    def where(self, version: int) -> str:
        """Return how the history says it; `read_where` reads it."""
        return f"{KIND} {self.namespace}/{self.name}, {self.url}/{version}/"


def read_where(text: str) -> Service | None:
    """Return the InferenceService that an entry of the history names; None if it names none."""
    found = _WHERE.fullmatch(text)
    return Service(*found.groups()[:3]) if found else None


def read_kserve(given: Mapping[str, Any]) -> KServe:
    """Return the settings, checked.

    Args:
        given: As a pipeline's author writes them; whole numbers may arrive as floats.

    Raises:
        PenstockError: One is unknown or cannot be.
    """
    fields = {one.name: one for one in dataclasses.fields(KServe)}
    for name in given:
        if name not in fields:
            raise PenstockError(f"kserve knows no {name!r}; use some of {', '.join(fields)}.")
    read = {name: _checked(name, value) for name, value in given.items() if value is not None}
    if not _NAME.fullmatch(read.get("name", "")):
        raise PenstockError(
            f"kserve needs a name for the InferenceService, and {given.get('name')!r} cannot be "
            "one; use at most 50 small letters, digits and '-', beginning with a letter, such as "
            "flights."
        )
    if read.get("namespace") and not _NAMESPACE.fullmatch(read["namespace"]):
        raise PenstockError(f"kserve's namespace {read['namespace']!r} cannot be one.")
    return KServe(**read)


def _checked(name: str, value: Any) -> Any:
    if name in ("canary_traffic_percent", "min_replicas", "max_replicas"):
        most = 100 if name == "canary_traffic_percent" else 10_000
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or value != int(value) or not 0 <= value <= most:
            raise PenstockError(
                f"kserve's {name} is {value!r}; give a whole number from 0 to {most}."
            )
        return int(value)
    if name in ("labels", "annotations"):
        if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
            raise PenstockError(
                f"kserve's {name} are {value!r}; give a dictionary of text to text."
            )
        return dict(value)
    if name == "resources":
        parts = ("requests", "limits")
        whole = isinstance(value, Mapping) and all(
            key in parts and isinstance(amounts, Mapping) for key, amounts in value.items()
        )
        if not whole:
            raise PenstockError(
                f"kserve's resources are {value!r}; give requests and limits, such as "
                "{'requests': {'cpu': '1', 'memory': '2Gi'}}."
            )
        return {key: {what: str(a) for what, a in value[key].items()} for key in value}
    if not isinstance(value, str):
        raise PenstockError(f"kserve's {name} is {value!r}; give text.")
    return value.strip()


def check_kind(settings: KServe, kind: str) -> str:
    """Return the model format under which KServe serves a kind of model.

    Args:
        settings: How it is served.
        kind: As in `penstock.models`: `saved_model`, `xgboost` and so on.

    Raises:
        PenstockError: No server of KServe's own serves this kind, and none is named.
    """
    if kind != "saved_model" and not settings.runtime:
        raise PenstockError(
            f"KServe's own servers cannot serve a model of kind {kind!r} with its preprocessing; "
            "give kserve a runtime, a ServingRuntime of yours that loads it with "
            "penstock.models.loading.load_model, or push a SavedModel."
        )
    made = settings.model_format or _FORMATS.get(kind, "")
    if not made:
        raise PenstockError(
            f"KServe has no name for models of kind {kind!r}; give kserve the model_format that "
            f"the runtime {settings.runtime} says it supports."
        )
    return made


def manifest(
    settings: KServe, url: str, claim: Claim, kind: str, *, facts: Mapping[str, str]
) -> dict[str, Any]:
    """Return the InferenceService that serves one version.

    Args:
        settings: How.
        url: The place in the object store.
        claim: The version there.
        kind: The model's kind, as in `penstock.models`.
        facts: What else the annotations say, such as product and run; empty ones are left out.

    Returns:
        The object, for `kubectl apply --server-side` or `penstock.registry.kserve`.
    """
    model = {
        "modelFormat": {"name": check_kind(settings, kind)},
        "runtime": settings.runtime,
        "protocolVersion": settings.protocol_version,
        # With the slash: without it KServe's storage initializer takes version 10 for a part of 1.
        "storageUri": f"{url}/{claim.version}/",
        "resources": {key: dict(amounts) for key, amounts in settings.resources.items()},
    }
    predictor: dict[str, Any] = {
        "canaryTrafficPercent": settings.canary_traffic_percent,
        "serviceAccountName": settings.service_account,
        "minReplicas": settings.min_replicas,
        "maxReplicas": settings.max_replicas,
        "model": _filled(model),
    }
    kept = dataclasses.replace(settings, canary_traffic_percent=None)
    annotations = {
        **settings.annotations,
        f"{PREFIX}model-digest": claim.content_digest,
        VERSION: str(claim.version),
        **{f"{PREFIX}{name}": text for name, text in facts.items() if text},
        SETTINGS: json.dumps(_filled(dataclasses.asdict(kept))),
    }
    labels = {**settings.labels, "app.kubernetes.io/managed-by": "penstock"}
    metadata = {"name": settings.name, "namespace": settings.namespace}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {**_filled(metadata), "labels": labels, "annotations": annotations},
        "spec": {"predictor": _filled(predictor)},
    }


def facts_of(found: Version) -> dict[str, str]:
    """Return what the annotations say of a registered version."""
    came = {name: str(found.facts.get(name) or "") for name in ("pipeline", "run")}
    return {"product": found.product, "registered": str(found.number), **came}


def kind_of(claim: Claim, facts: Mapping[str, Any]) -> str:
    """Return the kind of the model of a version, from its files or where it came from."""
    return "saved_model" if "saved_model.pb" in claim.files else str(facts.get("kind", ""))


def settings_of(found: Mapping[str, Any]) -> KServe:
    """Return the settings of an InferenceService that is there.

    Raises:
        PenstockError: It was not made by Penstock.
    """
    metadata = found["metadata"]
    text = (metadata.get("annotations") or {}).get(SETTINGS, "")
    try:
        return read_kserve(json.loads(text))
    except (ValueError, AttributeError, PenstockError) as error:
        raise PenstockError(
            f"The InferenceService {metadata['namespace']}/{metadata['name']} does not say how "
            f"Penstock made it (annotation {SETTINGS}); push to it once."
        ) from error


def _filled(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if value not in (None, "", {})}
