"""Appraises evidence and signs what it is worth."""
