"""The artifacts of a store, by number, place or content."""

from sqlalchemy import select

from ..errors import PenstockError
from . import reading
from .connected import Connected
from .models import ArtifactRow
from .values import Artifact


class Found(Connected):
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
