"""Pictures of graphs, as SVG."""

from graphc.drawing.show import Drawing, draw, mimebundle

__all__ = ["Drawing", "draw", "mimebundle"]
