"""The terms of the priority: what each says of the groups that are to be ordered.

``candidates`` is what a term sees and what it has to offer; ``built_in`` holds ours. How terms are weighed and what
keeps an order fair is in ``pangu_verl.queue.priority``. No term draws at random, reads a clock or remembers anything.
"""
