"""What every room's tests share: TensorFlow kept quiet, databases, buckets and a Kubernetes API."""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

import hypothesis
import pytest

# What the rooms' tests take from `..cluster` and its like is imported here first.
from . import flights_run, mlflow_server  # noqa: F401
from .cluster import cluster, free_port, namespace  # noqa: F401  fixtures

# Before TensorFlow is imported: its remarks on CPU features and missing GPUs are not test output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# No test is held to a time: a busy machine is slow.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# Where stores are tested: an SQLite file, and a PostgreSQL server of our own on a loopback port.
DATABASES = ("sqlite", "postgresql")


def program(name: str) -> str | None:
    """Where a program of PostgreSQL lies; Debian keeps the server's out of the PATH."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return shutil.which(name) or (str(installed[0]) if installed else None)


@pytest.fixture(scope="session")
def postgres():
    """The URL of a PostgreSQL server that lives as long as the tests, without a database."""
    pytest.importorskip("psycopg", reason="the driver psycopg is not installed")
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    if not initdb or not pg_ctl:
        pytest.skip("PostgreSQL is not installed: initdb and pg_ctl are not found")
    user = None
    if os.geteuid() == 0:  # the server refuses to run as root
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("PostgreSQL does not run as root and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="penstock-postgres-"))
    if user:
        shutil.chown(folder, user)
    password = folder / "password"
    password.write_text("secret")
    password.chmod(0o644)
    port, data = free_port(), folder / "data"

    def call(*command) -> None:
        done = subprocess.run(
            command, user=user, cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    secure = ("--auth=scram-sha-256", f"--pwfile={password}", "--username=penstock")
    call(initdb, "--no-sync", "--encoding=UTF8", "--locale=C", *secure, "-D", data)
    settings = f"-p {port} -h 127.0.0.1 -k '' -c fsync=off -c full_page_writes=off"
    log = ("-l", str(folder / "log"))
    # pg_ctl's own output must not be a pipe: the server would keep it open.
    start = [pg_ctl, "-w", "-D", str(data), "-o", settings, *log, "start"]
    subprocess.run(start, user=user, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    yield f"postgresql://penstock:secret@127.0.0.1:{port}"
    call(pg_ctl, "-D", str(data), "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.fixture
def database(postgres):
    """The URL of an empty schema in a database: made faster than a database, and as separate."""
    import psycopg

    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(f"{postgres}/postgres", autocommit=True) as server:
        server.execute(f"CREATE SCHEMA {name}")
    return f"{postgres}/postgres?options=-csearch_path%3D{name}"


@pytest.fixture(params=DATABASES)
def where(request, tmp_path):
    """Where a store can be made: once an SQLite file, once a PostgreSQL database."""
    if request.param == "sqlite":
        return str(tmp_path / "metadata.sqlite")
    return request.getfixturevalue("database")


@pytest.fixture(scope="module")
def new_bucket():
    """Make buckets in a real S3 server on loopback: each call gives the URL of an empty one."""
    boto3 = pytest.importorskip("boto3")
    s3fs = pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        # It keeps a connection to the server of another module.
        s3fs.S3FileSystem.clear_instance_cache()

        def make() -> str:
            name = f"b{uuid.uuid4().hex}"
            boto3.client("s3").create_bucket(Bucket=name)
            return f"s3://{name}"

        yield make
    server.stop()
