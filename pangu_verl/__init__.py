"""Pangu Embedded's training system as plugins for verl. This package imports neither torch nor verl."""

__version__ = "0.1.0"
