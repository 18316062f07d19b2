"""The error that a person can mend, as opposed to a bug of ours."""


class PenstockError(Exception):
    """Says in one sentence what is wrong, where, what was expected, and how to mend it.

    Raised for everything that the caller can put right: a missing file, a ragged CSV line, an
    unknown parameter, a split without rows. The command line prints the sentence alone, without a
    traceback, and exits with a non-zero code. Any other exception is a defect in Penstock or in the
    author's code, and keeps its traceback.
    """
