"""verl's side of rollout under our scheduler.

``agent_loops`` (verl's workers, which tell what has ended and can be told to stop), ``client`` (which version made each
token), ``notices`` (what both tell the trainer's process), ``servers`` (some die and others come), ``publications``
(weights for those that live).
"""
