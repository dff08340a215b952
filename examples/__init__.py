"""Real computations with their data; `examples/run.py` runs them all."""
