"""What the author's module is given, how its `run_fn` is called, and what it may return."""
