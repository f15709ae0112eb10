"""Our scheduler and queue under verl's V1 trainers: the trainer modes ``pangu_ssp`` and ``pangu_ssp_colocate``.

Thin adapters, in the order of a token's life: ``prompts`` (from verl's data loader to admission), ``client`` (which
version made each token), ``segments`` (the same for a row, and its masks), ``arrivals`` (from TransferQueue to the
scheduler), ``feed`` (drives the scheduler), ``buffer`` (what verl's trainer samples from), ``training`` (the trainer
modes), ``checkpoint`` (one cut with the ledger), ``settings`` (what ``pangu.scheduler`` says). What is decided, and by
which rule, is in ``pangu_verl.scheduler``.
"""
