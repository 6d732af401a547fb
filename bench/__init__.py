"""Measurements: `python -m bench` prints every table, `python -m bench graph` one of them. See bench/README.md."""
