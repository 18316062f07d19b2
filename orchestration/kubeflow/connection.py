"""How Kubeflow Pipelines' API server is reached, and what its refusals mean."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import PenstockError

if TYPE_CHECKING:
    from kfp_server_api import ApiClient

# As kfp's own client has them: kfp/client/client.py and kfp/client/set_volume_credentials.py.
HOST = "KF_PIPELINES_ENDPOINT"
TOKEN = "PENSTOCK_KFP_TOKEN"  # noqa: S105 - the variable's name
IN_CLUSTER = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
POD_TOKEN_PATH = "KF_PIPELINES_SA_TOKEN_PATH"  # noqa: S105 - the variable's name
POD_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")
# Seconds for one request: to connect, and to be answered.
PATIENCE = (10, 60)
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Kubeflow:
    """A Kubeflow Pipelines API server.

    Attributes:
        host: Its URL without a slash at the end, such as `http://localhost:8080`.
        namespace: Whose experiments and runs are meant; empty in single-user installations.
        client: What the services of `kfp_server_api` take.
    """

    host: str
    namespace: str
    client: ApiClient

    def call(self, function: Callable[..., Answer], *arguments: Any, **options: Any) -> Answer:
        """Return what a function of `kfp_server_api` answers.

        Args:
            function: A method of one of its services.
            arguments: Its positional arguments, whose names differ between versions.
            options: Its keyword arguments.

        Raises:
            PenstockError: The server cannot be reached or refuses.
        """
        with refusals(self.host):
            answer = function(*arguments, _request_timeout=PATIENCE, **options)
            # The generated code makes of a page of a login an answer without contents.
            kind = self.client.last_response.getheader("content-type", "")
            if "html" in kind:
                raise ValueError(f"its answer is {kind}")
            return answer

    def address(self, run_id: str) -> str:
        """Return where Kubeflow's own pages show a run."""
        return f"{self.host}/#/runs/details/{run_id}"


def connect(
    host: str = "", namespace: str = "", token_file: Path | None = None, ca: Path | None = None
) -> Kubeflow:
    """Return a Kubeflow Pipelines API server; nothing is asked of it yet.

    Args:
        host: Its URL, or that of Kubeflow's pages, which pass the API on. Without one it is
            KF_PIPELINES_ENDPOINT, and within a cluster the service `ml-pipeline` of the namespace
            `kubeflow`.
        namespace: Whose experiments and runs are meant; in a pod the pod's when left out.
        token_file: Holds a bearer token, read anew for every request, as projected tokens change;
            without it PENSTOCK_KFP_TOKEN holds the token, and in a pod the service account's file.
        ca: Certificates to trust, in PEM.

    Raises:
        PenstockError: There is no host, or a file cannot be read.
    """
    from kfp_server_api import ApiClient, Configuration

    in_pod = POD_NAMESPACE.is_file()
    host = (host or os.environ.get(HOST, "") or (IN_CLUSTER if in_pod else "")).rstrip("/")
    if not host:
        raise PenstockError(
            f"No Kubeflow is named; give --host or {HOST}, such as http://localhost:8080 after "
            "`kubectl port-forward --namespace kubeflow service/ml-pipeline-ui 8080:80`."
        )
    if not host.startswith(("http://", "https://")):
        host = f"https://{host}"
    configuration = Configuration(host=host)
    if ca is not None:
        _read(ca, "certificates")
        configuration.ssl_ca_cert = str(ca)
    token = _token(token_file)
    if token is not None:
        configuration.api_key_prefix["authorization"] = "Bearer"
        configuration.api_key["authorization"] = token()
        configuration.refresh_api_key_hook = lambda changed: changed.api_key.update(
            authorization=token()
        )
    if not namespace and in_pod:
        namespace = POD_NAMESPACE.read_text().strip()
    return Kubeflow(host, namespace, ApiClient(configuration))


def _token(given: Path | None) -> Callable[[], str] | None:
    if given is None and os.environ.get(TOKEN):
        return lambda: os.environ[TOKEN]
    file = given or Path(os.environ.get(POD_TOKEN_PATH) or POD_TOKEN)
    if given is None and not file.is_file():
        return None
    return lambda: _read(file, "token").strip()


def _read(file: Path, what: str) -> str:
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise PenstockError(f"The {what} in {file} cannot be read: {reason}.") from error
    if not text.strip():
        raise PenstockError(f"{file} is empty; it should hold the {what}.")
    return text


@contextmanager
def refusals(host: str) -> Iterator[None]:
    """Turn the errors of `kfp_server_api` into sentences.

    Raises:
        PenstockError: The block raised one of them.
    """
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise PenstockError(f"{host} {_refusal(error.status, error.body)}") from error
    except HTTPError as error:
        # urllib3 wraps what happened in an account of its attempts.
        cause = getattr(error, "reason", None) or error
        reason = str(cause).rpartition(": ")[2].rstrip(".")
        raise PenstockError(
            f"{host} cannot be reached ({reason}); check the host, and that its server or the "
            "port-forward to it runs."
        ) from error
    except (ValueError, TypeError) as error:
        raise PenstockError(
            f"{host} does not answer as Kubeflow Pipelines' v2beta1 API ({error}); check the host, "
            "and whether a login stands before it: then give a token."
        ) from error


MEANINGS = {
    401: "wants to know who you are; give a token by --token-file or PENSTOCK_KFP_TOKEN",
    403: "does not allow it; check the token and the namespace, and that the token's service "
    "account may create runs there",
    404: "has nothing there; check the host, and that it is Kubeflow Pipelines 2.0 or newer",
}


def _refusal(status: int, body: Any) -> str:
    said = _message(body)
    meaning = MEANINGS.get(status, "refuses the request")
    return f"{meaning} (HTTP {status}{': ' + said if said else ''})."


def _message(body: Any) -> str:
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        content = json.loads(text)
        # The gateway of gRPC says `message`; the server's own handlers say `error_message`.
        text = content.get("message") or content.get("error_message") or content["error"]
    except (ValueError, KeyError, AttributeError, TypeError):
        text = "" if text.lstrip().startswith("<") else text
    said = " ".join(str(text).split()).rstrip(".")
    return said if len(said) <= 300 else f"{said[:297]}..."
