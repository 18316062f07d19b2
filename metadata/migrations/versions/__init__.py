"""The revisions. A new one has the next number, and names the one before it."""
