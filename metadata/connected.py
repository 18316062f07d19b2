"""An open store."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from sqlalchemy import Engine, update
from sqlalchemy.orm import Session

from ..errors import PenstockError
from . import reading
from .engine import WRITES, connect, name_of, parse, sentences
from .heartbeat import Heartbeat
from .models import ProcessRow
from .process import current
from .schema import prepare

Opened = TypeVar("Opened", bound="Connected")


class Connected:
    """An open store: how its parts read and write, and who does."""

    def __init__(self, engine: Engine, name: str, busy_seconds: float) -> None:
        self.engine = engine
        self.name = name
        self._busy_seconds = busy_seconds
        self._writer = engine.execution_options(**{WRITES: True})
        # SQLite has one writer; threads queue here faster than at its lock.
        self._queue = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()
        self._registration = threading.Lock()
        self._process: tuple[int, int] | None = None
        self._heartbeat: Heartbeat | None = None

    @classmethod
    def open(
        cls: type[Opened], where: str | Path, *, create: bool = True, busy_seconds: float = 30.0
    ) -> Opened:
        """Open a store, and bring its schema up to date.

        Args:
            where: The path of an SQLite file, or `postgresql://user@host/database`.
            create: Make the SQLite file if there is none.
            busy_seconds: How long to wait for a lock that another process holds.

        Raises:
            PenstockError: It is not there (and `create` is false), locked, damaged, not writable,
                not reachable, written by a newer Penstock, or a database of something else.
        """
        url = parse(where)
        name = name_of(url)
        if url.get_backend_name() == "sqlite":
            _check_file(Path(name), create)
        engine = connect(url, busy_seconds)
        try:
            with sentences(name, busy_seconds):
                prepare(engine, name, busy_seconds)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, name, busy_seconds)

    def close(self) -> None:
        """Let go of the database."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
        self.engine.dispose()

    def __enter__(self: Opened) -> Opened:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session that sees one state of the store throughout."""
        with sentences(self.name, self._busy_seconds), Session(self.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Yield a session whose changes are all made when the block ends without an error."""
        with (
            sentences(self.name, self._busy_seconds),
            self._queue,
            Session(self._writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def _process_id(self) -> int:
        with self._registration:
            if self._process is not None and self._process[0] == os.getpid():
                return self._process[1]
            with self.writing() as session:
                row = ProcessRow(
                    **asdict(current()), heartbeat_time_since_epoch=reading.now_ms(session)
                )
                session.add(row)
                session.flush()
                process_id = row.id
            self._process = (os.getpid(), process_id)
            self._heartbeat = Heartbeat(lambda: self._beat(process_id))
            return process_id

    def _beat(self, process_id: int) -> None:
        with self.writing() as session:
            session.execute(
                update(ProcessRow)
                .filter_by(id=process_id)
                .values(heartbeat_time_since_epoch=reading.now_ms(session))
            )


def _check_file(file: Path, create: bool) -> None:
    try:
        # In this order: another process may make it meanwhile.
        if file.exists():
            if file.is_file():
                return
            raise PenstockError(f"The metadata store {file} is not a file; name one that is.")
        if create:
            file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PenstockError(
            f"The metadata store {file} cannot be made or read: {error.strerror}; choose another "
            "place."
        ) from error
    if not create:
        raise PenstockError(
            f"There is no metadata store at {file}; run a pipeline first, or say where it is with "
            "--root or --store."
        )
