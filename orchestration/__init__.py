"""How a compiled pipeline runs: checked as a whole, then executed step by step on this machine."""
