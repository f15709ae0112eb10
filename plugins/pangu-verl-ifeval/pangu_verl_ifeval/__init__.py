"""Instruction following as a reward: the 25 verifiable instruction families of IFEval (arXiv 2311.07911)."""
