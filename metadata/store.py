"""The door to this room: everything that the runner and the command line ask of a store."""

from .cache import Cache
from .executions import Executions
from .found import Found
from .recording import ArtifactGone

__all__ = ["ArtifactGone", "Store"]


class Store(Found, Executions, Cache):
    """A metadata store. Threads may share it; each process opens its own, by `Store.open`.

    Every method is one short transaction: after a kill at any moment, all of it is there or none.
    Every method raises PenstockError when the database is locked for longer than the busy time,
    damaged, full, not writable or not reachable.
    """
