"""Recurring runs on Kubeflow: one per name, changed on purpose alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from ...errors import PenstockError
from .connection import Kubeflow
from .runs import Request, everything, find_or_make_experiment

if TYPE_CHECKING:
    from kfp_server_api import V2beta1RecurringRun

FIELD = r"[\d*/,?A-Za-z-]+"
CRON = re.compile(rf"(?:{FIELD} ){{4,5}}{FIELD}")
WORDS = re.compile(r"@(yearly|annually|monthly|weekly|daily|midnight|hourly|every \S+)")
CONCURRENT = range(1, 11)


class Outcome(str, Enum):
    """What became of a schedule."""

    CREATED = "created"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Schedule:
    """When a pipeline runs again.

    Attributes:
        cron: As people write it: five fields, or six with the seconds first, or `@daily` and the
            like, in the controller's time zone, UTC unless it was told another.
        concurrent: How many of its runs may go on at once, 1 to 10.
        catch_up: Whether the times that passed while it could not run are made up for.
    """

    cron: str
    concurrent: int = 1
    catch_up: bool = False

    def six_fields(self) -> str:
        """Return the cron with its seconds.

        Kubeflow reads it by robfig/cron 1.2, which takes the first of five fields for the seconds
        and the last as left out: `0 2 * * *` would be every hour at two minutes past.

        Raises:
            PenstockError: It is none.
        """
        words = " ".join(self.cron.split())
        if WORDS.fullmatch(words):
            return words
        if not CRON.fullmatch(words):
            raise PenstockError(
                f"The schedule {self.cron!r} is not a cron; give five fields, minute, hour, day of "
                "month, month and day of week, such as '0 2 * * *' for every night at two."
            )
        return f"0 {words}" if len(words.split()) == 5 else words


def submit_schedule(
    kubeflow: Kubeflow,
    request: Request,
    schedule: Schedule,
    experiment: str,
    name: str,
    replace: bool = False,
) -> tuple[V2beta1RecurringRun, Outcome]:
    """Create the recurring run of this name, or find that it is there.

    Args:
        kubeflow: The server.
        request: What runs.
        schedule: When.
        experiment: The experiment's name; it is created where there is none.
        name: The recurring run's name, of which there is one in the experiment.
        replace: Put it in the place of another of that name, which is deleted once this one is
            there; its runs stay.

    Returns:
        The recurring run and what became of it.

    Raises:
        PenstockError: One of that name runs something else or at other times, and `replace` is
            False; the schedule is none; or the server refuses.
    """
    from kfp_server_api import RecurringRunServiceApi

    service = RecurringRunServiceApi(kubeflow.client)
    if schedule.concurrent not in CONCURRENT:
        raise PenstockError(f"{schedule.concurrent} runs at once are asked for; 1 to 10 may be.")
    cron = schedule.six_fields()
    owner = find_or_make_experiment(kubeflow, experiment)
    wanted = _body(request, schedule, cron, owner.experiment_id, name)
    listed = everything(
        kubeflow,
        service.recurring_run_service_list_recurring_runs,
        "recurring_runs",
        experiment_id=owner.experiment_id,
    )
    before = [one for one in listed if one.display_name == name]
    if [(one.description, one.mode) for one in before] == [(wanted.description, wanted.mode)]:
        return before[0], Outcome.UNCHANGED
    if before and not replace:
        raise PenstockError(
            f"The recurring run {name} is there already, with another pipeline, other parameters "
            "or other times, or disabled; give --replace to put this one in its place, or another "
            "--name."
        )
    made = kubeflow.call(service.recurring_run_service_create_recurring_run, wanted)
    for old in before:
        kubeflow.call(service.recurring_run_service_delete_recurring_run, old.recurring_run_id)
    return made, Outcome.REPLACED if before else Outcome.CREATED


def _body(
    request: Request, schedule: Schedule, cron: str, experiment_id: str, name: str
) -> V2beta1RecurringRun:
    from kfp_server_api import (
        RecurringRunMode,
        V2beta1CronSchedule,
        V2beta1RecurringRun,
        V2beta1Trigger,
    )

    return V2beta1RecurringRun(
        display_name=name,
        description=request.describe(
            cron=cron, concurrent=schedule.concurrent, catch_up=schedule.catch_up
        ),
        experiment_id=experiment_id,
        pipeline_spec=request.spec(),
        runtime_config=request.config(),
        service_account=request.service_account or None,
        max_concurrency=str(schedule.concurrent),
        no_catchup=not schedule.catch_up,
        mode=RecurringRunMode.ENABLE,
        trigger=V2beta1Trigger(cron_schedule=V2beta1CronSchedule(cron=cron)),
    )
