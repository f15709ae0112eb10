"""verl whole, with compute replaced by sleep: for work on its control plane at the size of many replicas.

verl's trainer, agent loops and balancer, Ray and TransferQueue are real; rollout servers and trainer make no numbers
and take the time that a description says (``pacing``). Modules: ``replicas`` and ``lengths`` (what a replica does with
its requests and how long answers are; no verl, no Ray), ``fleet`` and ``server`` (the same behind verl's server
interface, all replicas in one process), ``rollout`` and ``transport`` (verl's handles on it), ``training`` (the
engine), ``journal`` and ``processors`` (what was trained on, and what the run itself cost), ``prompts`` (the data).
"""
