"""The registry's server as deploy/registry starts it."""

import urllib.error
import urllib.request

import pytest


def ask(uri: str, host: str) -> int:
    request = urllib.request.Request(
        f"{uri}/api/2.0/mlflow/registered-models/search?max_results=1", headers={"Host": host}
    )
    try:
        return urllib.request.urlopen(request, timeout=30).status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    "host",
    ["penstock-registry:5000", "penstock-registry.team.svc.cluster.local:5000", "localhost:5000"],
)
def test_the_server_answers_by_the_names_of_its_service(mlflow_server, host):
    assert ask(mlflow_server, host) == 200


def test_the_server_answers_by_no_other_name(mlflow_server):
    assert ask(mlflow_server, "attacker.example") == 403
