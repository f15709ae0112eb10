"""Layers of isolation, one file each, which says what it guards; ``layers.py`` says which of them hold here."""
