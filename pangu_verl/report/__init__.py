"""The report of runs: one HTML file for a run, one for several, and the few numbers a command prints.

    records        lines of JSON as a killed process left them
    facts          run.json, key by key
    validation     rows of validation/<step>.jsonl
    run_folder     the folder as a whole
    verdicts       rows of rewards/verdicts.jsonl
    rewards        the audit trail in rewards/ as a whole
    reward_tallies what its verdicts come to
    statistics     paired gain and its interval
    comparison     first validation against last
    timing         where the seconds of a step went
    summary        ``summarise``: the numbers for ``--json``
    outcome        those numbers in plain words; ``outcome_sentence``: the one that a command prints
    samples        which answers to show
    drawing        inline SVG
    line_figures   several lines in one drawing, with the page's legend
    rendering      from values to a page on disk

    figures, reward_figures,
    page                         ``build_report``: the HTML file of one run
    timeline, timeline_view,
    timeline_lanes               ``timeline.html``: who was idle when, if the run wrote a timeline
    configuration                config.yaml, and where several do not agree
    columns, table, lines,
    side_by_side                 ``build_side_by_side``: the HTML file of several runs, and their numbers for ``--json``
    frontier, recommendation     the page of ``simulate --recommend``
    soak                         the page of ``simulate --soak``

Invariants: a report is made from whatever a run left behind, whole or not, and says what was missing; what could not
be known is ``None`` or "unknown", never 0; text from a model is escaped. It imports neither verl, ray nor torch, and
it trains and judges nothing: correctness is read from the rows.
"""

from __future__ import annotations

from pangu_verl.report.outcome import outcome_sentence
from pangu_verl.report.page import build_report
from pangu_verl.report.side_by_side import build_side_by_side, summarise_side_by_side
from pangu_verl.report.summary import RunSummary, summarise

__all__ = [
    "RunSummary",
    "build_report",
    "build_side_by_side",
    "outcome_sentence",
    "summarise",
    "summarise_side_by_side",
]
