"""Searching a study: in the step's own process, or in one of several beside each other.

As a program, `python -m penstock.components.tuner.worker`, it reads what to do from standard input,
so that a database's password is in no file and on no command line: a JSON object with `job`,
`parent`, `refusal` and `sys_path`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ...errors import PenstockError
from ...processes import die_with_parent
from ...training.author import load_author_module
from .job import Job
from .objective import propose_for, training_objective
from .search import search

EXIT_REFUSED = 3


def work(job: Job) -> None:
    """Search until the budget leaves nothing.

    Raises:
        PenstockError: The module is not as it should be, or no trial can be scored.
    """
    author = load_author_module(job.training.module)
    propose = propose_for(author, job.search.space, job.search.trials)
    fixed, objective = job.search.hyperparameters, training_objective(author, job)
    search(job.open(), job.budget, fixed, propose, objective)


def main() -> None:
    """Do the work of the order on standard input.

    Ends with `EXIT_REFUSED`, and a sentence in the file `refusal`, when no trial can succeed.
    """
    order = json.loads(sys.stdin.read())
    die_with_parent(order["parent"])
    sys.path[:] = order["sys_path"]
    try:
        work(Job.from_plain(order["job"]))
    except PenstockError as error:
        Path(order["refusal"]).write_text(str(error), encoding="utf-8")
        sys.stderr.write(f"penstock: {error}\n")
        sys.exit(EXIT_REFUSED)


if __name__ == "__main__":
    main()
