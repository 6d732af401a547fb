"""Shape rules of attention and of what belongs to it."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.inference.elementwise import check_expands, show
from graphc.inference.engine import Context, rule
from graphc.ir import dims
from graphc.ir.dims import Dim, Shape


@rule("Attention")
def _attention(c: Context) -> Sequence[Shape]:
    q, k, v = (_heads(c, position) for position in range(3))
    batch, heads, length, size = q
    if dims.provably_different(size, k[3]):
        c.fail(f"the queries have heads of {size} elements, the keys of {k[3]}")
    for position, t in ((1, k), (2, v)):
        if dims.provably_different(t[0], batch):
            c.fail(f"the queries have a batch of {batch}, {c.spec.input(position).name} of {t[0]}")
    if dims.provably_different(k[2], v[2]):
        c.fail(f"there are {k[2]} keys for {v[2]} values")
    total = k[2]
    if c.has(4) != c.has(5):
        c.fail("only one of past_key and past_value is given; expected both or none")
    if c.has(4):
        past = c.shape(4)
        if len(past) != 4:
            c.fail(f"past_key is {show(past)}; expected (batch, heads, length, size)")
        total = dims.add(past[2], total)
    scores = (batch, heads, length, total)
    if c.has(3):
        mask = c.shape(3)
        shorter = bool(mask) and isinstance(total, int) and isinstance(mask[-1], int) and mask[-1] < total
        check_expands(c, 3, (*scores[:3], mask[-1]) if shorter else scores)  # no query attends the keys beyond
    result: Shape = (batch, heads, length, v[3])
    if len(c.shape(0)) == 3:
        result = (batch, length, dims.multiply(heads, v[3]))
    return [result, (batch, k[1], total, k[3]), (batch, v[1], total, v[3]), scores]


def _heads(c: Context, position: int) -> tuple[Dim, Dim, Dim, Dim]:
    """Queries, keys or values as (batch, heads, length, size), from that form or from (batch, length, heads * size)."""
    shape, name = c.shape(position), c.spec.input(position).name
    if len(shape) == 4:
        return shape
    if len(shape) != 3:
        c.fail(f"{name} is {show(shape)}; expected (batch, heads, length, size) or (batch, length, heads * size)")
    attribute = "q_num_heads" if position == 0 else "kv_num_heads"
    heads: int | None = c.attrs.get(attribute)
    if heads is None:
        c.fail(f"{name} is {show(shape)}, and the attribute {attribute} is not given", "Say how many heads there are.")
    if heads <= 0:
        c.fail(f"the attribute {attribute} is {heads}; expected a positive number")
    hidden = shape[2]
    if isinstance(hidden, int) and hidden % heads:
        c.fail(f"{name} is {show(shape)}, which cannot be split into {heads} heads")
    return shape[0], heads, shape[1], dims.floor_div(hidden, heads)


@rule("RotaryEmbedding")
def _rotary(c: Context) -> Sequence[Shape]:
    x = c.shape(0)
    if len(x) == 3 and not c.attrs.get("num_heads"):
        c.fail(f"X is {show(x)}, and num_heads is not given", "Say how many heads there are.")
    if len(x) not in (3, 4):
        c.fail(f"X is {show(x)}; expected (batch, heads, length, size) or (batch, length, heads * size)")
    return [x]
