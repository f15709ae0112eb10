"""What waits, runs and is ready, in which order, and the crash-safe record of it.

``entries`` holds the records, ``ledger`` keeps them on disk, ``priority`` orders them. Nothing here decides how stale
a token may be: that is ``pangu_verl.scheduler``. Importing this room imports neither torch nor verl.
"""
