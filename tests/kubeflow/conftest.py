import pytest

from .server import Server


@pytest.fixture
def kubeflow(monkeypatch):
    for name in ("KF_PIPELINES_ENDPOINT", "PENSTOCK_KFP_TOKEN", "KF_PIPELINES_SA_TOKEN_PATH"):
        monkeypatch.setenv(name, "")
    server = Server()
    yield server
    server.close()
