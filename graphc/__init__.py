"""graphc: a compiler for neural networks."""
