"""Rewards outside training: ``pangu-verl rewards score``, ``validate`` and ``list``.

    rows            reward rows from outside, checked key by key, one line at a time
    parquet_rows    the same rows out of verl's own parquet columns
    files           what is read, and what is written as a whole
    judges          the plugins' sources and terms; many rows at a time, in the order of the input
    verdict_lines   the output file: whole lines, and what an earlier run left in it
    score, summary  ``rewards score``, and its figures
    golds           the response that a row's own gold answer makes
    validate, rates ``rewards validate``, and its table
    listing         ``rewards list``
    row_progress    how far a command has come
    wording         text from outside, made safe to show

Invariants: a row is judged by the ladders and the composition of training, at their defaults; no file is ever held in
memory as a whole; whatever a model wrote, its row gets a verdict; whatever is wrong with a file is named with file,
line and key before anything is judged. Neither verl nor ray is imported.
"""
