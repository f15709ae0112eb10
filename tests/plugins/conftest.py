"""Plugins made on the spot, for every test here."""

from made_plugins import make_plugin

__all__ = ["make_plugin"]
