"""Hydra configurations that extend verl's own. Search path: ``pkg://pangu_verl.config``."""
