"""What a model is asked to find out whether it can be served, and what came of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from .inquiry import Journal, Task, first_line
from .model import Predictions
from .parity import Parity
from .wild_rows import CASES, among, wild_rows

if TYPE_CHECKING:
    from .endpoints import Endpoint

# A request is repeated for so long, and not less or more often than that.
_SECONDS, _LEAST, _MOST = 0.3, 5, 100
_WILD_BASE = 16
_THREAD_ROWS = 32
_CALLS_PER_THREAD = 4


def ask_all(
    task: Task,
    endpoints: Sequence[Endpoint],
    rows: pa.Table,
    parity: Parity | None,
    journal: Journal,
) -> dict[str, Predictions]:
    """Ask each endpoint everything.

    Args:
        task: What to ask.
        endpoints: The ways to ask, at least one.
        rows: As many real rows as the largest batch has.
        parity: The trainer's answers, where it left some.
        journal: Where findings go.

    Returns:
        What each endpoint answered to `rows`, of those that did.
    """
    answers = {}
    for endpoint in endpoints:
        found = _Questions(endpoint, task, rows, journal).ask()
        if found is not None:
            answers[endpoint.name] = found
    answering = [endpoint for endpoint in endpoints if endpoint.name in answers]
    _agreement(answering, answers, journal)
    if parity is not None and answering:
        first = min(answering, key=lambda endpoint: endpoint.sends != "rows")
        with journal.doing("asking what the trainer asked"):
            _parity(first, parity, journal)
    return answers


class _Questions:
    """All that one endpoint is asked."""

    def __init__(self, endpoint: Endpoint, task: Task, rows: pa.Table, journal: Journal):
        self._endpoint, self._task, self._rows, self._journal = endpoint, task, rows, journal

    def ask(self) -> Predictions | None:
        """Ask everything; return the answers to all rows, or None where they are no answers."""
        largest = max(self._task.batches)
        try:
            with self._journal.doing(self._words(largest)):
                self._sent = self._endpoint.prepare(self._rows)
                self._whole = self._endpoint.ask(self._sent)
        except Exception as error:  # the model's own code; what it raises is the finding
            self._note("answers", rows=largest, error=error)
            return None
        not_finite = int((~np.isfinite(self._whole)).any(axis=1).sum())
        width = self._whole.shape[1]
        self._note("answers", rows=largest, not_finite=not_finite, width=width)
        for rows in self._task.batches:
            self._timed(rows)
        self._wild()
        self._at_once()
        self._again()
        return self._whole

    def _note(self, finding: str, error: Exception | None = None, **parts: Any) -> None:
        said = {} if error is None else {"error": first_line(error)}
        self._journal.note(finding, of=self._endpoint.name, **parts, **said)

    def _words(self, rows: int) -> str:
        return f"asking {self._endpoint.name} with {rows:,} row{'s'[: rows > 1]}"

    def _timed(self, rows: int) -> None:
        """Ask in batches of so many rows: how long it takes, and whether the batch matters."""
        places = range(0, self._sent.num_rows - rows + 1, rows)
        seconds: list[float] = []
        worst = 0.0
        try:
            with self._journal.doing(self._words(rows)):
                self._endpoint.ask(self._sent.slice(0, rows))  # it may have to get ready
                end = time.perf_counter() + _SECONDS
                while len(seconds) < _LEAST or (len(seconds) < _MOST and time.perf_counter() < end):
                    place = places[len(seconds) % len(places)]
                    begun = time.perf_counter()
                    found = self._endpoint.ask(self._sent.slice(place, rows))
                    seconds.append(time.perf_counter() - begun)
                    worst = max(worst, difference(found, self._whole[place : place + rows]))
        except Exception as error:
            self._note("batch", rows=rows, error=error)
            return
        p50, p99 = np.quantile(seconds, [0.5, 0.99], method="higher") * 1000
        self._note("batch", rows=rows, calls=len(seconds), p50_ms=p50, p99_ms=p99, difference=worst)

    def _wild(self) -> None:
        """Put each kind of wild rows among real ones."""
        base = self._rows.slice(0, _WILD_BASE)
        kinds = {n: k for n, k in self._endpoint.kinds.items() if n in self._rows.column_names}
        possible = wild_rows(base, kinds, self._task.optional)
        for case in CASES:
            wild = possible.get(case)
            if wild is None or case in self._task.skipped:
                self._note("wild", case=case, skipped=case in self._task.skipped)
                continue
            mixed, places = among(base, wild)
            parts: dict[str, Any] = {"case": case, "rows": len(places)}
            try:
                with self._journal.doing(f"{self._words(mixed.num_rows)}, some with {CASES[case]}"):
                    answers = self._endpoint.ask(self._endpoint.prepare(mixed))
            except Exception as error:
                self._note("wild", error, **parts)
                continue
            not_finite = int((~np.isfinite(answers[places])).any(axis=1).sum())
            others = difference(np.delete(answers, places, axis=0), self._whole[: base.num_rows])
            self._note("wild", **parts, not_finite=not_finite, difference=others)

    def _at_once(self) -> None:
        """Ask from several threads at once; the answers must be those that came one by one."""
        rows = min(_THREAD_ROWS, max(1, self._sent.num_rows // 2))
        threads = self._task.threads
        interval = sys.getswitchinterval()
        try:
            with self._journal.doing(f"{self._words(rows)}, {threads} requests at once"):
                alone = self._one_by_one(rows)
                places = [list(alone)[i % len(alone)] for i in range(threads * _CALLS_PER_THREAD)]
                # Threads take turns often, so that those that disturb each other are caught.
                sys.setswitchinterval(1e-5)
                with ThreadPoolExecutor(threads) as pool:
                    found = list(
                        pool.map(lambda at: self._endpoint.ask(self._sent.slice(at, rows)), places)
                    )
        except Exception as error:
            self._note("threads", error, threads=threads)
            return
        finally:
            sys.setswitchinterval(interval)
        pairs = zip(found, places, strict=True)
        worst = max(difference(answers, alone[place]) for answers, place in pairs)
        self._note("threads", threads=threads, requests=len(places), difference=worst)

    def _one_by_one(self, rows: int) -> dict[int, Predictions]:
        """Return the answers to batches of so many rows, by where they begin; two or more."""
        found: dict[int, Predictions] = {}
        end = time.perf_counter() + _SECONDS
        for place in range(0, self._sent.num_rows - rows + 1, rows):
            found[place] = self._endpoint.ask(self._sent.slice(place, rows))
            if len(found) > 1 and time.perf_counter() > end:
                break
        return found

    def _again(self) -> None:
        """Ask the first question once more, after all the others."""
        try:
            with self._journal.doing(f"{self._words(self._sent.num_rows)} again"):
                found = self._endpoint.ask(self._sent)
        except Exception as error:
            self._note("again", error)
            return
        self._note("again", difference=difference(found, self._whole))


def difference(found: Any, expected: Any) -> float:
    """Return the largest |found - expected| / (1 + |expected|).

    That is at most t where `numpy.allclose` holds with t as both tolerances. It is infinite where
    one is a number and the other is not, and where the shapes differ.
    """
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        return float("inf")
    with np.errstate(invalid="ignore"):
        apart = np.abs(found - expected) / (1 + np.abs(expected))
    apart[(found == expected) | (np.isnan(found) & np.isnan(expected))] = 0
    apart[np.isnan(apart)] = np.inf
    return float(apart.max(initial=0.0))


def _agreement(
    endpoints: Sequence[Endpoint], answers: Mapping[str, Predictions], journal: Journal
) -> None:
    """Compare the endpoints that give the same output with the first of them."""
    for place, endpoint in enumerate(endpoints):
        output = endpoint.model.signature.output
        first = next(e for e in endpoints if e.model.signature.output == output)
        if first is not endpoints[place]:
            worst = difference(answers[endpoint.name], answers[first.name])
            journal.note("agreement", of=endpoint.name, against=first.name, difference=worst)


def _parity(endpoint: Endpoint, parity: Parity, journal: Journal) -> None:
    parts: dict[str, Any] = {"of": endpoint.name, "rows": parity.rows.num_rows}
    try:
        found = endpoint.ask(endpoint.prepare(parity.rows))
    except Exception as error:
        journal.note("parity", **parts, error=first_line(error))
        return
    worst = difference(found, parity.answers)
    journal.note("parity", **parts, tolerance=parity.tolerance, difference=worst)
