"""Fuzz targets for everything that parses what others wrote; see README.md."""
