"""What is added to a score beside correctness, one term a file.

Invariant: each amount depends on the response alone, lies in -0.5..0, and is 0 where the row does not say what the
term needs. All values are project defaults: the paper names a light repetition penalty and publishes no figures.
How the amounts meet correctness is in ``pangu_verl.mars.composition``.
"""
