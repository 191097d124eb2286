"""Key-value in one SQLite file, safe to share between processes."""
