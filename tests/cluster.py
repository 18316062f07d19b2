"""A Kubernetes API server of our own, with the CRDs of training jobs and of KServe.

The CRDs in `training/apiserver/crds` are Kubeflow's and KServe's, under the Apache License 2.0,
without descriptions: kubeflow/trainer at 8c0f5059bd51ec3ba6d6a6a7b2e1471de7bc13b3
(trainer.kubeflow.org), kubeflow/training-operator at 078ec30ff26649a07d2e28893c332d4cef70e233
(kubeflow.org) and kserve/kserve at aaac4e294dae2c7b1aa1886447793f3aa1c30912 (serving.kserve.io).
"""

import gzip
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CRDS = Path(__file__).parent / "training" / "apiserver" / "crds"
TOKEN = "secret"


def program(name: str) -> str | None:
    """Where a program of the API server lies, once `apiserver/build.sh` has built it."""
    folder = Path(os.environ.get("PENSTOCK_TEST_APISERVER", ROOT / "build" / "apiserver"))
    return str(folder / name) if (folder / name).exists() else shutil.which(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Cluster:
    """An API server that enforces its schemas; no controller and no node acts on what it holds."""

    host: str
    kubeconfig: str
    kubelet: "Kubelet"

    def api(self):
        from kubernetes import client

        configuration = client.Configuration()
        configuration.host = self.host
        configuration.verify_ssl = False
        configuration.api_key = {"authorization": f"Bearer {TOKEN}"}
        return client.ApiClient(configuration)


class Kubelet(http.server.ThreadingHTTPServer):
    """The part of a node's kubelet that serves containers' logs, by pod."""

    def __init__(self, certificate: Path, key: Path):
        super().__init__(("127.0.0.1", 0), _LogHandler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.logs: dict[str, str] = {}


class _LogHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        pod = self.path.split("?")[0].split("/")[3]
        body = self.server.logs.get(pod, "").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """The API server, until the tests end."""
    etcd, apiserver = program("etcd"), program("kube-apiserver")
    if not etcd or not apiserver:
        pytest.skip("etcd and kube-apiserver are not built: tests/training/apiserver/build.sh")
    folder = tmp_path_factory.mktemp("apiserver")
    store, peers, port = free_port(), free_port(), free_port()
    (folder / "tokens.csv").write_text(f"{TOKEN},admin,1,system:masters\n")
    key = folder / "account.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    commands = (
        [
            etcd,
            f"--data-dir={folder / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls=http://127.0.0.1:{store}",
            f"--advertise-client-urls=http://127.0.0.1:{store}",
            f"--listen-peer-urls=http://127.0.0.1:{peers}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peers}",
            f"--initial-cluster=default=http://127.0.0.1:{peers}",
        ],
        [
            apiserver,
            f"--etcd-servers=http://127.0.0.1:{store}",
            f"--cert-dir={folder / 'certs'}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            "--authorization-mode=RBAC",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default",
            "--disable-admission-plugins=ServiceAccount",
            "--kubelet-preferred-address-types=InternalIP",
        ],
    )
    processes = []
    try:
        for number, command in enumerate(commands):
            log = (folder / f"log-{number}").open("wb")
            processes.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT))
        kubeconfig = _kubeconfig(folder / "kubeconfig", port)
        _wait_until_ready(f"https://127.0.0.1:{port}", folder)
        kubelet = Kubelet(folder / "certs" / "apiserver.crt", folder / "certs" / "apiserver.key")
        threading.Thread(target=kubelet.serve_forever, daemon=True).start()
        made = Cluster(f"https://127.0.0.1:{port}", kubeconfig, kubelet)
        _install(made)
        yield made
        kubelet.shutdown()
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


@pytest.fixture
def namespace(cluster, monkeypatch) -> str:
    """A namespace of the API server, which is the one that a step finds."""
    from kubernetes import client

    name = f"t{uuid.uuid4().hex[:12]}"
    client.CoreV1Api(cluster.api()).create_namespace({"metadata": {"name": name}})
    monkeypatch.setenv("KUBECONFIG", cluster.kubeconfig)
    monkeypatch.setattr(
        "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", cluster.kubeconfig
    )
    return name


def _kubeconfig(file: Path, port: int) -> str:
    server = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": server}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "admin"}}],
        "current-context": "here",
    }
    file.write_text(json.dumps(content))
    return str(file)


def _wait_until_ready(host: str, folder: Path) -> None:
    import urllib3

    pool = urllib3.PoolManager(cert_reqs="CERT_NONE", retries=False)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    end = time.monotonic() + 90
    while time.monotonic() < end:
        try:
            if pool.request("GET", f"{host}/readyz", headers=headers).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.2)
    raise AssertionError((folder / "log-1").read_text()[-3000:])


def _install(cluster: Cluster) -> None:
    from kubernetes import client

    api = cluster.api()
    extensions = client.ApiextensionsV1Api(api)
    for file in sorted(CRDS.glob("*.json.gz")):
        extensions.create_custom_resource_definition(json.loads(gzip.decompress(file.read_bytes())))
    names = [file.name.removesuffix(".json.gz") for file in CRDS.glob("*.json.gz")]
    while not all(_established(extensions.read_custom_resource_definition(n)) for n in names):
        time.sleep(0.1)
    core = client.CoreV1Api(api)
    core.create_node({"metadata": {"name": "node-1"}})
    port = {"kubeletEndpoint": {"Port": cluster.kubelet.server_address[1]}}
    addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
    status = {"status": {"addresses": addresses, "daemonEndpoints": port}}
    core.patch_node_status("node-1", status)


def _established(definition) -> bool:
    conditions = definition.status.conditions or ()
    return any(c.type == "Established" and c.status == "True" for c in conditions)
