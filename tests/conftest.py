"""What every room's tests share."""

import os

# Before TensorFlow is imported: its remarks on CPU features and missing GPUs are not test output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
