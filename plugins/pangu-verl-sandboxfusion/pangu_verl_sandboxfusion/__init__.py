"""A reward source for code that a SandboxFusion server runs.

Where to look: ``source`` (rows in, verdicts out), ``rows`` (what a row may ask for), ``api`` (the server's API),
``comparison`` (stdin tests, compared here), ``inside`` (assert tests, apart from the response inside the sandbox).
Invariant: nothing of a response runs in this process, and expected outputs of stdin tests never leave it.
"""
