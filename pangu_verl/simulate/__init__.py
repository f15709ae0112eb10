"""The scheduler and the queue on a discrete-event clock instead of a cluster.

``traces`` and ``recorded`` say how long responses are, ``cluster`` and ``replicas`` how fast they are made, ``engine``
drives a selection (a ``Scheduler``, or one of ``baselines``) through a run, ``shares`` and ``bounds`` measure it and
``outcome`` is what comes of it. Importing this room imports neither torch nor verl.
"""
