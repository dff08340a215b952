"""Starts, watches and ends enclaves on one host."""
