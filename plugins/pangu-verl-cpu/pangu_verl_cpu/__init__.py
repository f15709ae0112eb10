"""The embedded default of pangu_verl: verl on a CPU, whole.

Rooms: ``text_engine`` (generation, importable without verl or ray), ``platform`` and ``process_group`` (what verl asks
of a device), ``rollout`` (verl's rollout server), ``transport`` (weights from trainer to servers), ``boot`` (tells
verl).
"""
