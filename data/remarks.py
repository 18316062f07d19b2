"""What libraries remark on standard error, held back unless something goes wrong."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import PenstockError


@contextmanager
def remarks_held_back() -> Iterator[None]:
    """Show what lands on standard error, from C++ too, only when the block meets a defect.

    TensorFlow remarks there on CPUs and missing GPUs before any setting of it can take effect.
    """
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except PenstockError:
            raise
        except BaseException:
            held.seek(0)
            os.write(shown, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(shown, 2)
            os.close(shown)
