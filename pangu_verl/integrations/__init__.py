"""Adapters to the systems that pangu_verl extends."""
