"""What ran, on what, and what came of it: MLMD's words in SQLite or PostgreSQL."""
