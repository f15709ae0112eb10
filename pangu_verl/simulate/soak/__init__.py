"""The soak: a scheduler and its ledger, killed again and again, and an auditor that shares no code with them.

``running`` is where to start; ``worker`` is the process that is killed, ``lives`` what starts it again, ``audit`` the
judge.
"""
