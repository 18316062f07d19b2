"""The artifacts of a store, by number, place, content or name."""

import re
from pathlib import Path

from sqlalchemy import select

from ..errors import PenstockError
from . import reading
from .models import OUTPUT, ArtifactRow, AssociationRow, EventRow, ExecutionRow, RunRow
from .runs import Runs
from .values import Artifact, ArtifactState

SOME_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{4,64})")


class Found(Runs):
    """Looks artifacts up."""

    def artifact(self, artifact_id: int) -> Artifact:
        """Return an artifact.

        Raises:
            PenstockError: There is none of that id.
        """
        with self.reading() as session:
            row = session.get(ArtifactRow, artifact_id)
            if row is None:
                raise PenstockError(
                    f"The metadata store {self.name} has no artifact {artifact_id}."
                )
            return reading.artifact_of(row)

    def artifacts(self, *, uri: str | None = None, digest: str | None = None) -> list[Artifact]:
        """Return the artifacts at a place, or of a content, or both; the newest first."""
        given = {"uri": uri, "digest": digest}
        wanted = {name: value for name, value in given.items() if value is not None}
        if not wanted:
            raise ValueError("artifacts are looked up by uri or digest")
        with self.reading() as session:
            rows = session.scalars(
                select(ArtifactRow).filter_by(**wanted).order_by(ArtifactRow.id.desc())
            )
            return [reading.artifact_of(row) for row in rows]

    def find(self, text: str) -> Artifact:
        """Return the artifact that a person means.

        Args:
            text: Its number, its URI or a path at or below it, the beginning of its digest, or
                `NAME@RUN`: what a run made, as `step/output`, by step, by output or by name; RUN
                is a run's id, the beginning of one, or `latest`.

        Raises:
            PenstockError: There is none, or the text may mean several.
        """
        if text.isdigit():
            return self.artifact(int(text))
        found = self.artifacts(uri=text) or self._around(text)
        if not found and (digits := SOME_DIGEST.fullmatch(text)):
            found = self._by_digest(f"sha256:{digits[1]}")
        if not found and "@" in text:
            name, _, run_id = text.rpartition("@")
            return self._made_in(name, self.run(run_id).id)
        if not found:
            raise PenstockError(
                f"The metadata store {self.name} knows no artifact {text}; give its number, its "
                "path, its digest or NAME@RUN, as `penstock runs show RUN` lists them."
            )
        return next((a for a in found if a.state is ArtifactState.LIVE), found[0])

    def _around(self, text: str) -> list[Artifact]:
        """Return the artifacts at a path or URL, or at the nearest folder above that is one."""
        place = text.rstrip("/") if "://" in text else str(Path(text).absolute())
        while place.strip("/"):
            if found := self.artifacts(uri=place):
                return found
            place = place.rpartition("/")[0]
        return []

    def _by_digest(self, beginning: str) -> list[Artifact]:
        with self.reading() as session:
            rows = session.scalars(
                select(ArtifactRow)
                # g is the first letter that is no hex digit; a range, since LIKE uses no index
                .where(ArtifactRow.digest >= beginning, ArtifactRow.digest < f"{beginning}g")
                .order_by(ArtifactRow.id.desc())
            ).all()
        if len(digests := sorted({str(row.digest) for row in rows})) > 1:
            raise PenstockError(
                f"Several artifacts have a digest that begins with {beginning}: "
                f"{', '.join(digests[:5])}; write more of it."
            )
        return [reading.artifact_of(row) for row in rows]

    def _made_in(self, name: str, run_id: str) -> Artifact:
        with self.reading() as session:
            rows = session.execute(
                select(
                    ArtifactRow, ExecutionRow.name, EventRow.name, EventRow.position, EventRow.id
                )
                .join(EventRow, EventRow.artifact_id == ArtifactRow.id)
                .join(ExecutionRow, ExecutionRow.id == EventRow.execution_id)
                .join(AssociationRow, AssociationRow.execution_id == ExecutionRow.id)
                .join(RunRow, RunRow.context_id == AssociationRow.context_id)
                .where(RunRow.run_id == run_id, EventRow.type == OUTPUT)
            ).all()
        rows = sorted(rows, key=lambda row: row[-1])  # in SQL the order misleads SQLite's planner
        lists = {(task, output) for _, task, output, position, _ in rows if position > 0}
        made = {
            f"{task}/{output}" + (f"[{position}]" if (task, output) in lists else ""): (
                row,
                (task, output, f"{task}/{output}", row.name),
            )
            for row, task, output, position, _ in rows
        }
        if name in made:
            return reading.artifact_of(made[name][0])
        meant = {place: row for place, (row, names) in made.items() if name in names}
        if len({row.id for row in meant.values()}) == 1:
            return reading.artifact_of(next(iter(meant.values())))
        what = f"several artifacts named {name}" if meant else f"no artifact named {name}"
        choice = ", ".join(sorted(meant or made)[:12]) or "none at all"
        raise PenstockError(f"Run {run_id} made {what}; it made {choice}.")
