"""What the loss of a step sees of the age of its tokens.

``corrections`` (named sets of verl's keys), ``token_lags`` (how old each trained token is), ``weighting`` and
``log_prob_gap`` (what is made of it), ``aged_loss`` (where a step does so).
"""
