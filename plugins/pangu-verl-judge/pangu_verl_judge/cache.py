"""The judge's replies on disk, by a hash of what was asked, shared by all processes that name the same file.

Invariant: only text is stored, and what is read is parsed and checked like a fresh reply, so a cache that somebody
wrote to can run nothing here. A file that is damaged, locked or not writable is counted and costs its hits, never a
verdict. The standard library's sqlite3 was chosen over diskcache, which unpickles what it finds (CVE-2025-69872).
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

WAIT_FOR_LOCK_S = 2.0


class ReplyCache:
    """Keeps the latest ``entries`` replies. For any thread; opens its file at the first use."""

    def __init__(self, path: Path, *, entries: int) -> None:
        self._path = path
        self._entries = entries
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self.failures = 0

    def get(self, key: str) -> str | None:
        with self._lock, self._tolerated():
            found = self._opened().execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
            return found[0] if found and isinstance(found[0], str) else None
        return None

    def put(self, key: str, reply: str) -> None:
        with self._lock, self._tolerated(), self._opened() as connection:
            connection.execute("INSERT OR REPLACE INTO replies (key, reply) VALUES (?, ?)", (key, reply))
            connection.execute(
                "DELETE FROM replies WHERE rowid <= (SELECT max(rowid) FROM replies) - ?", (self._entries,)
            )

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=WAIT_FOR_LOCK_S, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT NOT NULL)")
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    @contextlib.contextmanager
    def _tolerated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeError):
            self.failures += 1
