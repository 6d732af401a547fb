"""The functional surface: NumPy-like names for ONNX operators. Every function takes tensors, arrays or numbers."""

from graphc.functional.activation import *  # noqa: F403
from graphc.functional.activation import __all__ as _activation
from graphc.functional.control import *  # noqa: F403
from graphc.functional.control import __all__ as _control
from graphc.functional.elementwise import *  # noqa: F403
from graphc.functional.elementwise import __all__ as _elementwise
from graphc.functional.function import *  # noqa: F403
from graphc.functional.function import __all__ as _function
from graphc.functional.indexing import *  # noqa: F403
from graphc.functional.indexing import __all__ as _indexing
from graphc.functional.layout import *  # noqa: F403
from graphc.functional.layout import __all__ as _layout
from graphc.functional.linalg import *  # noqa: F403
from graphc.functional.linalg import __all__ as _linalg
from graphc.functional.reduction import *  # noqa: F403
from graphc.functional.reduction import __all__ as _reduction

__all__ = [*_activation, *_control, *_elementwise, *_function, *_indexing, *_layout, *_linalg, *_reduction]  # noqa: PLE0604
