"""Model versions, their aliases and blessings, and where they were deployed."""
