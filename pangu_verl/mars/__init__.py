"""MARS: rewards from several sources, each of which judges the answer that follows the reasoning.

    maths, code, choice, general   the sources of this package (others come by plugins)
    answers, literal, denials      finding the final answer, and comparing it as text
    killable                       calls in child processes that can be killed
    dispatch, ladder, asking       which sources are asked about a row, and whose verdict counts
    format_gate, auxiliary         structure by mode, and what is added to a score beside correctness
    composition, preference        one score out of the parts; preferences on the scale of their task
    tallies, reliability, state    what was judged, how often it was wrong, and what is believed therefore
    settings                       all of it as configuration says
    plugin                         what is registered

Invariant: nothing here imports verl, ray or torch. What a model wrote is read here by linear code alone: its LaTeX is
parsed, and its programs run, in processes of their own.
"""
