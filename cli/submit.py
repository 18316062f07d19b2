"""`penstock submit`: a pipeline on Kubeflow, once or again and again."""

import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import PenstockError
from .check import is_refused, say
from .options import TARGET, parameters

if TYPE_CHECKING:
    from kfp_server_api import V2beta1Run

    from ..orchestration.kubeflow.connection import Kubeflow
    from ..orchestration.kubeflow.runs import Request
    from ..orchestration.kubeflow.watching import Task
    from ..orchestration.spec import Pipeline

EXIT_CODES = """\b
Exit codes:
  0    it is submitted; with --wait, it succeeded
  1    with --wait, it failed or was canceled
  2    the request was wrong, Kubeflow refuses it, or --timeout passed
  130  stopped with Ctrl-C; the run goes on
"""
MARKS = {
    "RUNNING": ("…", "blue"),
    "SUCCEEDED": ("✓", "green"),
    "SKIPPED": ("-", "dim"),
    "FAILED": ("✗", "bold red"),
    "CANCELED": ("■", "yellow"),
}


@click.command(
    help=f"Run a pipeline on Kubeflow.\n\n{TARGET}  path/to/pipeline.yaml       "
    f"a compiled pipeline\n\n{EXIT_CODES}"
)
@click.argument("target")
@parameters
@click.option("--host", default="", help="Kubeflow's URL; else KF_PIPELINES_ENDPOINT.")
@click.option("--namespace", default="", help="Whose experiments and runs, where it has several.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="A file with a bearer token; else PENSTOCK_KFP_TOKEN holds one, or the pod has one.",
)
@click.option("--ca", type=click.Path(path_type=Path), help="Certificates to trust, in PEM.")
@click.option("--experiment", default="", help="Its name.  [default: the pipeline's]")
@click.option("--name", default="", help="The run's name.  [default: the pipeline's and the time]")
@click.option("--pipeline-root", default="", help="Where artifacts go, such as s3://bucket/runs.")
@click.option("--service-account", default="", help="Whose rights the steps have.")
@click.option("--no-cache", is_flag=True, help="Execute every step, also what ran before.")
@click.option("--key", default="", help="Run once per KEY: the second time finds the first run.")
@click.option("--no-check", is_flag=True, help="Submit it whatever `penstock check` would say.")
@click.option("--wait", is_flag=True, help="Show the steps as they go, until the run is over.")
@click.option("--timeout", type=click.FloatRange(min=0), help="With --wait: so many seconds.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    help="With --wait: seconds between looks.",
)
@click.option("--cron", default="", help="Run at these times, such as '0 2 * * *', from now on.")
@click.option(
    "--concurrent", type=int, default=1, show_default=True, help="With --cron: runs at once."
)
@click.option("--catch-up", is_flag=True, help="With --cron: make up for times that passed.")
@click.option("--replace", is_flag=True, help="With --cron: put it in place of the one there.")
def submit(target: str, params: tuple[str, ...], **options: Any) -> None:
    """Run a pipeline on Kubeflow."""
    from ..orchestration.kubeflow.connection import connect
    from ..orchestration.kubeflow.runs import Request
    from ..orchestration.parameters import check_parameters, read_parameters
    from ..orchestration.target import load

    _hold_together(options)
    pipeline = load(target)
    request = Request(
        pipeline,
        check_parameters(pipeline, read_parameters(pipeline, params)),
        options["pipeline_root"],
        options["service_account"],
        use_cache=not options["no_cache"],
    )
    if not options["no_check"]:
        _check(pipeline)
    kubeflow = connect(options["host"], options["namespace"], options["token_file"], options["ca"])
    if options["cron"]:
        _schedule(kubeflow, request, options)
        return
    run = _run(kubeflow, request, options)
    if options["wait"]:
        sys.exit(_wait(kubeflow, run, options))


def _hold_together(options: dict[str, Any]) -> None:
    if options["cron"]:
        apart = [name for name in ("key", "wait", "timeout") if options[name]]
        if apart:
            raise PenstockError(
                f"--{apart[0]} is about one run, --cron about many; leave one of them out."
            )
        return
    apart = [name for name in ("catch_up", "replace") if options[name]]
    if apart:
        raise PenstockError(f"--{apart[0].replace('_', '-')} goes with --cron; give it too.")
    if options["timeout"] is not None and not options["wait"]:
        raise PenstockError("--timeout goes with --wait; give it too.")


def _check(pipeline: "Pipeline") -> None:
    from ..orchestration.kubeflow.acceptance import findings

    found = findings(pipeline)
    if found:
        say(found, pipeline.name, err=True)
    if is_refused(found):
        raise PenstockError(
            "It was not submitted, as Kubeflow would refuse it; mend it, or give --no-check."
        )


def _schedule(kubeflow: "Kubeflow", request: "Request", options: dict[str, Any]) -> None:
    from ..orchestration.kubeflow.schedules import Schedule, submit_schedule

    name = request.pipeline.name
    schedule = Schedule(options["cron"], options["concurrent"], options["catch_up"])
    made, outcome = submit_schedule(
        kubeflow,
        request,
        schedule,
        options["experiment"] or name,
        options["name"] or name,
        options["replace"],
    )
    click.echo(
        f"The recurring run {made.display_name} is {outcome.value}: {schedule.six_fields()} "
        f"(seconds first), as {made.recurring_run_id}."
    )


def _run(kubeflow: "Kubeflow", request: "Request", options: dict[str, Any]) -> "V2beta1Run":
    from ..orchestration.kubeflow.runs import submit_run

    pipeline, key = request.pipeline.name, options["key"]
    now = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S}"
    name = options["name"] or (pipeline if key else f"{pipeline} {now}")
    run, found = submit_run(kubeflow, request, options["experiment"] or pipeline, name, key)
    what = f"is there already ({str(run.state).lower()})" if found else "is submitted"
    click.echo(f"The run {run.display_name} {what}: {kubeflow.address(run.run_id)}")
    return run


def _wait(kubeflow: "Kubeflow", run: "V2beta1Run", options: dict[str, Any]) -> int:
    from ..orchestration.kubeflow.watching import watch
    from .words import console_of, plain, seconds

    console = console_of()

    def tell(task: "Task") -> None:
        mark, style = MARKS[task.state]
        took = "" if task.seconds is None else f"  [dim]{seconds(task.seconds)}[/]"
        console.print(f"  [{style}]{mark} {plain(task.name)}[/]{took}")

    try:
        end = watch(kubeflow, run.run_id, tell, options["interval"], options["timeout"])
    except KeyboardInterrupt:
        click.echo(f"\nThe run goes on: {kubeflow.address(run.run_id)}", err=True)
        raise
    console.print(f"The run {run.run_id} {str(end.state).lower()}.")
    if end.state == "SUCCEEDED":
        return 0
    if end.error and end.error.message:
        console.print(plain(end.error.message))
    _show_logs(kubeflow, run.run_id)
    return 1


def _show_logs(kubeflow: "Kubeflow", run_id: str) -> None:
    """Print what failed steps said, or how to ask for it."""
    from ..orchestration.kubeflow.watching import failed_pods
    from .words import console_of, plain

    console = console_of()
    namespace = kubeflow.namespace or "kubeflow"
    ask = (
        f"kubectl logs --namespace {namespace} --selector pipeline/runid={run_id} "
        "--container main --prefix --tail 40"
    )
    try:
        pods = failed_pods(namespace, run_id)
    except PenstockError as error:
        console.print(f"{plain(str(error))} Where kubectl reaches it: {plain(ask)}")
        return
    for pod in pods:
        console.print(f"[bold red]{plain(pod.step)} failed[/] in the pod {plain(pod.pod)}:")
        for line in pod.log or ("(its log is gone)",):
            console.print(f"  [dim]│[/] {plain(line)}")
    if not pods:
        console.print(f"No pod of it is left; its steps' logs: {plain(kubeflow.address(run_id))}")
