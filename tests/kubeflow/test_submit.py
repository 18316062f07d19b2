"""`penstock submit` as a person meets it, against a server that speaks Kubeflow's v2beta1 API."""

import json
import threading
from datetime import datetime, timedelta, timezone

import pytest
import yaml
from click.testing import CliRunner

from penstock.cli.main import cli
from penstock.errors import PenstockError
from penstock.orchestration.kubeflow.connection import connect
from penstock.orchestration.kubeflow.runs import Request, submit_run
from penstock.orchestration.target import load

AUTHOR = """
from kfp import dsl, kubernetes


@dsl.component(base_image="python:3.13.1", install_kfp_package=False)
def add(rows: int, more: int) -> int:
    return rows + more


@dsl.pipeline(name="water")
def pipeline(rows: int, label: str = "wet"):
    add(rows=rows, more=1)


@dsl.pipeline(name="water-on-spot-nodes")
def spot(rows: int = 1):
    kubernetes.add_toleration(add(rows=rows, more=1), key="spot", operator="Exists")
"""
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def author(tmp_path):
    path = tmp_path / "water.py"
    path.write_text(AUTHOR)
    return path


@pytest.fixture
def submit(author, kubeflow):
    def run(*words: str, of: str = "pipeline") -> tuple[int, str]:
        arguments = ["submit", f"{author}:{of}", "--host", kubeflow.url, *words]
        done = CliRunner().invoke(cli, arguments)
        if done.exception and not isinstance(done.exception, SystemExit | PenstockError):
            raise done.exception
        said = str(done.exception) if isinstance(done.exception, PenstockError) else done.output
        return done.exit_code, " ".join(said.split())

    return run


def test_a_run_has_what_was_asked_for(submit, kubeflow):
    code, said = submit(
        "-p", "rows=3", "--experiment", "weather", "--name", "monday",
        "--service-account", "runner", "--pipeline-root", "s3://bucket/runs",
    )  # fmt: skip

    (experiment,) = kubeflow.of("experiments")
    (run,) = kubeflow.of("runs")
    assert code == 0
    assert said == f"The run monday is submitted: {kubeflow.url}/#/runs/details/{run['run_id']}"
    assert experiment["display_name"] == "weather"
    assert run["experiment_id"] == experiment["experiment_id"]
    assert run["service_account"] == "runner"
    assert run["runtime_config"] == {
        "parameters": {"rows": 3},
        "pipeline_root": "s3://bucket/runs",
    }
    assert run["pipeline_spec"]["pipelineInfo"] == {"name": "water"}
    assert run["pipeline_spec"]["root"]["dag"]["tasks"]["add"]["cachingOptions"] == {
        "enableCache": True
    }


def test_names_follow_the_pipeline_and_the_time(submit, kubeflow):
    submit("-p", "rows=3")

    (run,) = kubeflow.of("runs")
    assert kubeflow.of("experiments")[0]["display_name"] == "water"
    assert datetime.strptime(run["display_name"], "water %Y-%m-%d %H:%M:%S")


def test_without_a_key_every_submission_is_a_run(submit, kubeflow):
    submit("-p", "rows=3")
    submit("-p", "rows=3")

    assert len(kubeflow.of("runs")) == 2
    assert len(kubeflow.of("experiments")) == 1


def test_the_configuration_of_kubernetes_goes_along(submit, kubeflow):
    submit(of="spot")

    (run,) = kubeflow.of("runs")
    assert set(run["pipeline_spec"]) == {"pipeline_spec", "platform_spec"}
    assert "tolerations" in json.dumps(run["pipeline_spec"]["platform_spec"])


def test_a_compiled_pipeline_is_submitted_as_it_is(author, kubeflow, tmp_path):
    compiled = tmp_path / "water.yaml"
    assert (
        not CliRunner()
        .invoke(cli, ["compile", f"{author}:pipeline", "-o", str(compiled)])
        .exit_code
    )
    done = CliRunner().invoke(
        cli, ["submit", str(compiled), "--host", kubeflow.url, "-p", "rows=1"]
    )

    assert done.exit_code == 0, done.output
    assert kubeflow.of("runs")[0]["pipeline_spec"] == yaml.safe_load(compiled.read_text())


def test_no_cache_turns_every_tasks_caching_off(submit, kubeflow):
    submit("-p", "rows=3", "--no-cache")

    (run,) = kubeflow.of("runs")
    assert run["pipeline_spec"]["root"]["dag"]["tasks"]["add"]["cachingOptions"] == {}


def test_the_second_submission_of_a_key_finds_the_first_run(submit, kubeflow):
    # Given other runs, one whose key a careless LIKE would match too
    submit("-p", "rows=3", "--key", "span-1")
    submit("-p", "rows=3", "--key", "span_2")
    kubeflow.things["runs"]["run-9998"] = kubeflow.of("runs")[0] | {
        "run_id": "run-9998",
        "display_name": "water [spanx2]",
    }
    before = len(kubeflow.of("runs"))

    code, said = submit("-p", "rows=3", "--key", "span_2")

    assert code == 0
    assert "The run water [span_2] is there already (pending): " in said
    assert len(kubeflow.of("runs")) == before


def test_a_key_belongs_to_one_request(submit, kubeflow):
    submit("-p", "rows=3", "--key", "span-1")
    code, said = submit("-p", "rows=4", "--key", "span-1")

    assert code == 1
    assert "The key span-1 belongs to the run run-0002, of another pipeline or with other" in said
    assert len(kubeflow.of("runs")) == 1


def test_of_two_at_once_with_a_key_one_run_stays(author, kubeflow):
    # Given two that have both found no run when the first creates its own
    both = threading.Barrier(2, timeout=30)
    kubeflow.before_creation = lambda kind: both.wait() if kind == "runs" else None
    request = Request(load(f"{author}:pipeline"), {"rows": 1})
    answers = []

    def ask():
        answers.append(submit_run(connect(kubeflow.url), request, "water", "water", "span-1"))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (stays,) = kubeflow.of("runs")
    assert {run.run_id for run, _ in answers} == {stays["run_id"]}
    assert sorted(found for _, found in answers) == [False, True]
    assert stays["state"] == "PENDING"
    assert ("POST", "/apis/v2beta1/runs/run-0003:terminate") in kubeflow.requests


def test_an_experiment_made_meanwhile_is_taken(author, kubeflow):
    kubeflow.things["experiments"]["exp-1"] = {"experiment_id": "exp-1", "display_name": "other"}

    def somebody_else(kind):
        if kind == "experiments":
            kubeflow.things[kind]["exp-2"] = {"experiment_id": "exp-2", "display_name": "water"}

    kubeflow.before_creation = somebody_else

    run, _ = submit_run(
        connect(kubeflow.url), Request(load(f"{author}:pipeline"), {"rows": 1}), "water", "water"
    )

    assert run.experiment_id == "exp-2"


def details(*tasks: tuple[str, str, str]) -> dict:
    """Return a run's details with the nodes that Argo makes of tasks: name, state, own name."""
    nodes = [
        ("water-x7k2p", "RUNNING", "w"),
        ("root", "RUNNING", "r"),
        ("add-driver", "SUCCEEDED", "d"),
    ]
    return {
        "run_details": {
            "task_details": [
                {
                    "task_id": identity,
                    "display_name": name,
                    "state": state,
                    "create_time": NOW.isoformat(),
                    "start_time": NOW.isoformat(),
                    "end_time": (NOW + timedelta(seconds=75)).isoformat(),
                    "child_tasks": [{"pod_name": "water-x7k2p-123"}] if identity == "w" else [],
                }
                for name, state, identity in (*nodes, *tasks)
            ]
        }
    }


def test_waiting_shows_the_steps_as_they_go(submit, kubeflow):
    kubeflow.stories["run-0002"] = [
        {"state": "PENDING"},
        {"state": "RUNNING", **details(("add", "RUNNING", "1"), ("executor", "RUNNING", "2"))},
        {"state": "RUNNING", **details(("add", "RUNNING", "1"), ("executor(0)", "RUNNING", "2"))},
        {"state": "SUCCEEDED", **details(("add", "SUCCEEDED", "1"))},
    ]

    code, said = submit("-p", "rows=3", "--wait", "--interval", "0.1")

    assert code == 0
    assert said.endswith("… add ✓ add 1 min 15 s The run run-0002 succeeded.")


@pytest.fixture
def kubectl(kubeflow, tmp_path, monkeypatch):
    """Make the server Kubernetes too."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": kubeflow.url}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "now", "context": {"cluster": "here", "user": "me"}}],
        "current-context": "now",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    return path


def pod(name: str, node: str, phase: str) -> dict:
    return {
        "metadata": {
            "name": name,
            "namespace": "team",
            "annotations": {"workflows.argoproj.io/node-name": node},
        },
        "status": {"phase": phase},
    }


def test_a_failed_run_shows_what_its_failed_steps_printed(submit, kubeflow, kubectl):
    error = {"error": {"message": "child 'add' failed"}}
    kubeflow.stories["run-0002"] = [{"state": "FAILED", **details(("add", "FAILED", "1")), **error}]
    kubeflow.pods["run-0002"] = [
        pod("water-x7k2p-driver-1", "water-x7k2p.root.add-driver", "Succeeded"),
        pod("water-x7k2p-impl-2", "water-x7k2p.root.add.executor(0)", "Failed"),
        pod("water-x7k2p-impl-3", "water-x7k2p.root.for-loop-1.count.executor", "Failed"),
    ]
    kubeflow.logs["water-x7k2p-impl-2"] = "".join(f"line {n}\n" for n in range(50))

    code, said = submit("-p", "rows=3", "--wait", "--interval", "0.1", "--namespace", "team")

    assert code == 1
    assert "✗ add 1 min 15 s The run run-0002 failed. child 'add' failed" in said
    assert "add failed in the pod water-x7k2p-impl-2: │ line 10 │ line 11" in said
    assert "│ line 49 count failed in the pod water-x7k2p-impl-3: │ (its log is gone)" in said


def test_without_kubernetes_the_command_for_the_logs_is_given(submit, kubeflow, monkeypatch):
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", "/nowhere")
    kubeflow.stories["run-0002"] = [{"state": "FAILED"}]

    code, said = submit("-p", "rows=3", "--wait", "--interval", "0.1")

    assert code == 1
    assert "There is no Kubernetes cluster to ask for the logs (" in said
    assert (
        "kubectl logs --namespace kubeflow --selector pipeline/runid=run-0002 --container main"
        in said
    )


def test_waiting_ends_with_its_time_and_the_run_goes_on(submit, kubeflow):
    kubeflow.stories["run-0002"] = [{"state": "RUNNING"}] * 50

    code, said = submit("-p", "rows=3", "--wait", "--interval", "0.1", "--timeout", "0.3")

    assert code == 1
    assert "The run run-0002 is running after 0.3 s and goes on; look at http://" in said
    assert kubeflow.of("runs")[0]["state"] == "RUNNING"


def test_a_server_that_fails_for_a_moment_does_not_end_the_watch(submit, kubeflow):
    kubeflow.stories["run-0002"] = [
        {"state": "RUNNING"},
        *[{"unavailable": 503}] * 4,
        {"state": "SUCCEEDED"},
    ]

    code, said = submit("-p", "rows=3", "--wait", "--interval", "0.1")

    assert code == 0
    assert said.endswith("The run run-0002 succeeded.")


def test_a_server_that_stays_away_is_given_up(submit, kubeflow):
    kubeflow.stories["run-0002"] = [{"unavailable": 503}] * 5

    code, said = submit("-p", "rows=3", "--wait", "--interval", "0.1")

    assert code == 1
    assert "refuses the request (HTTP 503: upstream connect error)." in said


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("0 2 * * *", "0 0 2 * * *"),
        ("30 0 2 * * MON-FRI", "30 0 2 * * MON-FRI"),
        ("*/5  * * * 1", "0 */5 * * * 1"),
        ("@daily", "@daily"),
        ("@every 1h30m", "@every 1h30m"),
    ],
)
def test_a_cron_is_sent_with_its_seconds(submit, kubeflow, given, sent):
    code, said = submit("-p", "rows=3", "--cron", given)

    (one,) = kubeflow.of("recurringruns")
    assert code == 0
    assert said.startswith(f"The recurring run water is created: {sent} (seconds first), as rec-")
    assert one["trigger"] == {"cron_schedule": {"cron": sent}}
    assert (one["max_concurrency"], one["no_catchup"], one["mode"]) == ("1", True, "ENABLE")
    assert one["runtime_config"] == {"parameters": {"rows": 3}}
    assert not kubeflow.of("runs")


def test_a_schedule_is_there_once_and_changes_on_purpose_alone(submit, kubeflow):
    submit("-p", "rows=3", "--cron", "0 2 * * *")
    code, said = submit("-p", "rows=3", "--cron", "0 2 * * *")
    assert (code, len(kubeflow.of("recurringruns"))) == (0, 1)
    assert "is unchanged" in said

    code, said = submit("-p", "rows=3", "--cron", "0 3 * * *")
    assert code == 1
    assert "The recurring run water is there already, with another pipeline, other" in said

    code, said = submit("-p", "rows=3", "--cron", "0 3 * * *", "--replace")
    (one,) = kubeflow.of("recurringruns")
    assert (code, one["trigger"]["cron_schedule"]["cron"]) == (0, "0 0 3 * * *")
    assert "is replaced" in said


def test_a_disabled_schedule_is_not_taken_for_the_same(submit, kubeflow):
    submit("-p", "rows=3", "--cron", "0 2 * * *")
    kubeflow.of("recurringruns")[0]["mode"] = "DISABLE"

    code, said = submit("-p", "rows=3", "--cron", "0 2 * * *")

    assert code == 1
    assert "or disabled; give --replace" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--cron", "every day"), "The schedule 'every day' is not a cron; give five fields"),
        (("--cron", "0 2 * *"), "The schedule '0 2 * *' is not a cron; give five fields"),
        (
            ("--cron", "0 2 * * *", "--concurrent", "11"),
            "11 runs at once are asked for; 1 to 10 may",
        ),
        (("--cron", "0 2 * * *", "--key", "a"), "--key is about one run, --cron about many"),
        (("--catch-up",), "--catch-up goes with --cron; give it too."),
        (("--timeout", "3"), "--timeout goes with --wait; give it too."),
        (("--key", "a b"), "The key 'a b' may have up to 100 letters, digits and"),
        (("--ca", "/nowhere"), "The certificates in /nowhere cannot be read: No such file"),
        (("--token-file", "/nowhere"), "The token in /nowhere cannot be read: No such file"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_created(submit, kubeflow, words, sentence):
    code, said = submit("-p", "rows=3", *words)

    assert code == 1
    assert sentence in said
    assert not kubeflow.of("runs") + kubeflow.of("recurringruns")


def test_what_kubeflow_would_refuse_is_not_submitted(author, kubeflow):
    author.write_text(AUTHOR.replace("python:3.13.1", "Python of mine"))
    words = ["submit", f"{author}:pipeline", "--host", kubeflow.url, "-p", "rows=3"]

    refused = CliRunner().invoke(cli, words)
    assert "It was not submitted, as Kubeflow would refuse it" in str(refused.exception)
    assert not kubeflow.requests

    assert CliRunner().invoke(cli, [*words, "--no-check"]).exit_code == 0
    assert len(kubeflow.of("runs")) == 1


def test_a_missing_parameter_is_named_before_anything_is_asked(submit, kubeflow):
    code, said = submit()

    assert code == 1
    assert said == "Pipeline water needs rows: add --param rows=...."
    assert not kubeflow.requests


def test_a_token_is_borne_and_read_anew(author, kubeflow, tmp_path):
    kubeflow.token = "first"
    file = tmp_path / "token"
    file.write_text("first\n")
    connection = connect(kubeflow.url, token_file=file)
    request = Request(load(f"{author}:pipeline"), {"rows": 1})
    submit_run(connection, request, "water", "one")

    kubeflow.token = "second"
    file.write_text("second\n")
    submit_run(connection, request, "water", "two")

    assert len(kubeflow.of("runs")) == 2


def test_a_token_from_the_environment_is_borne(submit, kubeflow, monkeypatch):
    kubeflow.token = "secret"
    monkeypatch.setenv("PENSTOCK_KFP_TOKEN", "secret")

    assert submit("-p", "rows=3")[0] == 0


def test_a_refusal_says_what_to_do(submit, kubeflow):
    kubeflow.token = "secret"

    code, said = submit("-p", "rows=3")

    assert code == 1
    assert said == (
        f"{kubeflow.url} wants to know who you are; give a token by --token-file or "
        "PENSTOCK_KFP_TOKEN (HTTP 401: Unauthenticated)."
    )


def test_a_host_that_is_not_there_is_named(author):
    with pytest.raises(PenstockError, match=r"http://127\.0\.0\.1:9 cannot be reached \(.*refused"):
        submit_run(
            connect("http://127.0.0.1:9"), Request(load(f"{author}:pipeline"), {}), "water", "one"
        )


def test_a_page_in_place_of_the_api_is_recognised(author, kubeflow):
    with pytest.raises(PenstockError, match="has nothing there; check the host, and that it is"):
        submit_run(
            connect(f"{kubeflow.url}/login"),
            Request(load(f"{author}:pipeline"), {}),
            "water",
            "one",
        )


def test_a_login_page_is_recognised(author, kubeflow):
    kubeflow.login = "<!doctype html><title>Sign in</title>"
    with pytest.raises(PenstockError, match="whether a login stands before it: then give a token"):
        submit_run(connect(kubeflow.url), Request(load(f"{author}:pipeline"), {}), "water", "one")


def test_no_host_at_all_is_a_sentence(author, kubeflow):
    done = CliRunner().invoke(cli, ["submit", f"{author}:pipeline", "-p", "rows=1"])

    assert "No Kubeflow is named; give --host or KF_PIPELINES_ENDPOINT" in str(done.exception)
