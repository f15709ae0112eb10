"""Stale synchronous parallelism: what may start, what must be given up, what is trained on and which tokens count.

``scheduler`` is the object that a trainer or the simulator drives; ``policies`` say what happens to work that grows
too old; ``controllers`` move the bound; ``recording`` and ``replay`` make a run's schedule repeatable; ``timeline`` and
``idle`` say who did what when, and who was idle. Plain Python: no clock is read here, and neither torch nor verl is
imported.
"""
