"""The code reward: extract, run apart from everything, compare outside."""
