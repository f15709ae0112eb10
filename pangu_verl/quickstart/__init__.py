"""The main job for newcomers: a model, word problems with exact answers, and a run that ends in a report."""
