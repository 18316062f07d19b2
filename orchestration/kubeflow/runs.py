"""Runs on Kubeflow: created once per key, whoever asks again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from ...errors import PenstockError
from ..spec import Pipeline
from .connection import Kubeflow

if TYPE_CHECKING:
    from kfp_server_api import V2beta1Experiment, V2beta1Run

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,99}")
PAGE = 100


@dataclass(frozen=True)
class Request:
    """What is to run.

    Attributes:
        pipeline: The compiled pipeline.
        parameters: Values of its parameters, over its own defaults.
        root: Where artifacts go, such as `s3://bucket/runs`; empty for the server's default.
        service_account: Whose rights the steps have; empty for the server's default.
        use_cache: False turns every task's caching off.
    """

    pipeline: Pipeline
    parameters: Mapping[str, Any]
    root: str = ""
    service_account: str = ""
    use_cache: bool = True

    def spec(self) -> dict[str, Any]:
        """Return the pipeline as the API takes it.

        A platform's configuration, the second document of a compiled file, goes beside the spec
        under the names that the backend looks for (backend/src/apiserver/template/v2_template.go).
        """
        documents = list(yaml.safe_load_all(self.pipeline.text))
        if not self.use_cache:
            _turn_caching_off(documents[0])
        if len(documents) == 1:
            return dict(documents[0])
        return {"pipeline_spec": documents[0], "platform_spec": documents[1]}

    def describe(self, **more: Any) -> str:
        """Return the description by which the same request is known again.

        Args:
            more: What else makes the request, such as its schedule.
        """
        content = [
            self.spec(), self.parameters, self.root, self.service_account, self.use_cache, more
        ]  # fmt: skip
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return f"{self.pipeline.name}, submitted by penstock as request {digest[:16]}"

    def config(self) -> Any:
        """Return the values and the root as `V2beta1RuntimeConfig`."""
        from kfp_server_api import V2beta1RuntimeConfig

        return V2beta1RuntimeConfig(
            parameters=dict(self.parameters), pipeline_root=self.root or None
        )


def _turn_caching_off(spec: dict[str, Any]) -> None:
    for component in (spec.get("root", {}), *spec.get("components", {}).values()):
        for task in component.get("dag", {}).get("tasks", {}).values():
            task["cachingOptions"] = {}


def submit_run(
    kubeflow: Kubeflow, request: Request, experiment: str, name: str, key: str = ""
) -> tuple[V2beta1Run, bool]:
    """Create a run, or find the one that was created with the same key.

    The key stands in brackets at the end of the run's name, where people see it too. The API
    has no creation of its own that happens once: of two that ask at the same moment, both find
    none and create one; both then look again, and all but the earliest are terminated and deleted.

    Args:
        kubeflow: The server.
        request: What to run.
        experiment: The experiment's name; it is created where there is none.
        name: The run's name.
        key: Names the occasion, such as a span's number, within the experiment: up to 100 letters,
            digits and `._:/+-`. Empty: every call creates a run.

    Returns:
        The run, and whether it had been there before.

    Raises:
        PenstockError: The key has other characters or was used for another request, or the server
            refuses.
    """
    from kfp_server_api import RunServiceApi, V2beta1Run

    if key and not KEY.fullmatch(key):
        raise PenstockError(
            f"The key {key!r} may have up to 100 letters, digits and ._:/+- and begins with a "
            "letter or a digit."
        )
    owner = find_or_make_experiment(kubeflow, experiment)
    found = _runs_with_key(kubeflow, owner.experiment_id, key)
    if found:
        _hold_to_request(found[0], request, key)
        return found[0], True
    service = RunServiceApi(kubeflow.client)
    made = kubeflow.call(
        service.run_service_create_run,
        V2beta1Run(
            experiment_id=owner.experiment_id,
            display_name=f"{name} [{key}]" if key else name,
            description=request.describe(),
            pipeline_spec=request.spec(),
            runtime_config=request.config(),
            service_account=request.service_account or None,
        ),
    )
    first = next(iter(_runs_with_key(kubeflow, owner.experiment_id, key)), made)
    if first.run_id == made.run_id:
        return made, False
    kubeflow.call(service.run_service_terminate_run, made.run_id)
    kubeflow.call(service.run_service_delete_run, made.run_id)
    _hold_to_request(first, request, key)
    return first, True


def _hold_to_request(run: V2beta1Run, request: Request, key: str) -> None:
    if run.description != request.describe():
        raise PenstockError(
            f"The key {key} belongs to the run {run.run_id}, of another pipeline or with other "
            "parameters; give another key for this one."
        )


def get_run(kubeflow: Kubeflow, run_id: str) -> V2beta1Run:
    """Return a run as it stands.

    Raises:
        PenstockError: There is none, or the server refuses.
    """
    from kfp_server_api import RunServiceApi

    return kubeflow.call(RunServiceApi(kubeflow.client).run_service_get_run, run_id)


def find_or_make_experiment(kubeflow: Kubeflow, name: str) -> V2beta1Experiment:
    """Return the experiment of this name, created where there is none.

    Raises:
        PenstockError: The server refuses.
    """
    from kfp_server_api import ExperimentServiceApi, V2beta1Experiment

    service = ExperimentServiceApi(kubeflow.client)

    def find() -> V2beta1Experiment | None:
        pages = everything(
            kubeflow,
            service.experiment_service_list_experiments,
            "experiments",
            filter=_where("display_name", "EQUALS", name),
            namespace=kubeflow.namespace,
        )
        return next(pages, None)

    found = find()
    if found is not None:
        return found
    try:
        return kubeflow.call(
            service.experiment_service_create_experiment,
            V2beta1Experiment(display_name=name, namespace=kubeflow.namespace or None),
        )
    except PenstockError:
        # Names are unique: somebody else may have made it just now.
        found = find()
        if found is None:
            raise
        return found


def everything(kubeflow: Kubeflow, function: Any, field: str, **options: Any) -> Iterator[Any]:
    """Yield all that a listing function of the API has, page by page.

    Args:
        kubeflow: The server.
        function: Such as `RunServiceApi.run_service_list_runs`.
        field: What holds the things in an answer, such as `runs`.
        options: The function's own; empty ones are left out.
    """
    given = {name: value for name, value in options.items() if value}
    token = ""
    while True:
        answer = kubeflow.call(function, page_size=PAGE, page_token=token, **given)
        yield from getattr(answer, field) or ()
        token = answer.next_page_token
        if not token:
            return


def _runs_with_key(kubeflow: Kubeflow, experiment_id: str, key: str) -> list[V2beta1Run]:
    """Return the runs of a key, the earliest first."""
    from kfp_server_api import RunServiceApi

    if not key:
        return []
    found = everything(
        kubeflow,
        RunServiceApi(kubeflow.client).run_service_list_runs,
        "runs",
        experiment_id=experiment_id,
        filter=_where("display_name", "IS_SUBSTRING", f"[{key}]"),
    )
    # In the server's database `_` matches any character.
    exact = [run for run in found if run.display_name.endswith(f"[{key}]")]
    return sorted(exact, key=lambda run: (run.created_at, run.run_id))


def _where(field: str, operation: str, value: str) -> str:
    predicate = {"key": field, "operation": operation, "string_value": value}
    return json.dumps({"predicates": [predicate]})
