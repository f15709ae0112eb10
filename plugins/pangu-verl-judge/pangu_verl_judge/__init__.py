"""Reward sources that ask a language model behind an OpenAI-compatible endpoint.

Where to look: ``source`` (the judge, of liking) and ``verifier`` (of correctness) turn rows into verdicts; ``model``
is what both ask, by ``prompt`` and ``replies`` (what is asked, what is accepted), ``client`` (requests, retries and
limits, with ``breaker`` and ``pace``) and ``cache``; ``settings``.
Invariant: nothing that an answer, the model or the endpoint says becomes an exception or an undeserved score.
"""
