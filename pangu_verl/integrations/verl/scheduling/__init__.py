"""Our scheduler and queue under verl's V1 trainers: the trainer modes ``pangu_ssp`` and ``pangu_ssp_colocate``.

Thin adapters, in the order of a token's life: ``prompts`` (from verl's data loader to admission; ``known_prompts`` what
earlier epochs say of them), ``rollout`` (agent loops, the client that notes versions, servers that come and go),
``segments`` (which version made each token of a row, and its masks), ``arrivals`` (from TransferQueue to the core),
``feed`` (drives the scheduler; ``attempts`` what runs, rests and hangs), ``buffer`` (what verl's trainer samples from),
``loss`` (what the loss sees of age), ``training`` (the trainer modes), ``checkpoint`` (one cut with the ledger). Beside
them: ``settings`` and ``refusals`` (what ``pangu.scheduler`` says), ``timekeeping`` (where the time goes), ``gauges``
(metrics for Prometheus), ``readings`` (what a controller is told). What is decided, and by which rule, is in
``pangu_verl.scheduler``.
"""
