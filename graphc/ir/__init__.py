"""The intermediate representation: dimensions, types, nodes, graphs, and the one place that builds them."""
