"""Eight pixels at a time: a type for kernels whose values are vectors of eight float32.

Arithmetic, comparisons and the functions below work on all lanes at once; a float32 beside lanes stands for
itself in each of them. LLVM has such vectors for every processor: one AVX register, two of NEON or SSE.
"""

# mypy: disable-error-code="misc, no-untyped-call, no-untyped-def"
# ruff: noqa: ANN001, ANN201, ANN202 - numba calls these with its own types

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

COUNT = 8
VECTOR = ir.VectorType(ir.FloatType(), COUNT)
ARITHMETIC = {operator.add: "fadd", operator.sub: "fsub", operator.mul: "fmul", operator.truediv: "fdiv"}
IN_PLACE = {operator.iadd: "fadd", operator.isub: "fsub"}
COMPARISONS = {operator.lt: "<", operator.le: "<=", operator.gt: ">", operator.ge: ">=", operator.ne: "!="}


class Lanes(types.Type):
    """Eight float32."""


class Mask(types.Type):
    """Eight truth values."""


LANES, MASK = Lanes("lanes"), Mask("mask")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, VECTOR)


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.IntType(1), COUNT))


def _everywhere(builder, value):
    """The value itself if it is a vector, else a vector of it in every lane."""
    if value.type == VECTOR:
        return value
    one = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), COUNT), [0] * COUNT))


def _operator(function: Callable[..., Any], result: types.Type, build: Callable[..., Any]) -> None:
    """Let `function` take lanes, or lanes and a number, in kernels."""

    @infer_global(function)
    class _Template(AbstractTemplate):
        def generic(self, args, kws):
            known = all(a in (LANES, types.float32) for a in args)
            return signature(result, *args) if LANES in args and known else None

    def lower(context, builder, signature, args):
        return build(builder, *(_everywhere(builder, a) for a in args))

    for pair in ((LANES, LANES), (LANES, types.float32), (types.float32, LANES)):
        lower_builtin(function, *pair)(lower)


for _function, _name in {**ARITHMETIC, **IN_PLACE}.items():
    _operator(_function, LANES, lambda builder, a, b, name=_name: getattr(builder, name)(a, b))
for _function, _name in COMPARISONS.items():
    _operator(_function, MASK, lambda builder, a, b, name=_name: builder.fcmp_ordered(name, a, b))


@infer_global(operator.and_)
class _And(AbstractTemplate):
    def generic(self, args, kws):
        return signature(MASK, *args) if args == (MASK, MASK) else None


@lower_builtin(operator.and_, MASK, MASK)
def _lower_and(context, builder, signature, args):
    return builder.and_(*args)


def _pointer(context, builder, kind, array, index):
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), VECTOR.as_pointer())


@intrinsic
def load(typing, array, index):
    """The lanes array[index : index + 8]."""

    def build(context, builder, signature, args):
        return builder.load(_pointer(context, builder, signature.args[0], *args), align=4)

    return LANES(array, types.uintp), build


@intrinsic
def load_one(typing, array, index):
    """The number array[index] in every lane."""

    def build(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return _everywhere(builder, builder.load(builder.gep(data, [args[1]])))

    return LANES(array, types.uintp), build


@intrinsic
def load_whole(typing, array, index):
    """The same of an array of int16."""
    whole = ir.VectorType(ir.IntType(16), COUNT)

    def build(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        place = builder.bitcast(builder.gep(data, [args[1]]), whole.as_pointer())
        wide = builder.sext(builder.load(place, align=2), ir.VectorType(ir.IntType(32), COUNT))
        return builder.sitofp(wide, VECTOR)

    return LANES(array, types.uintp), build


@intrinsic
def store(typing, array, index, lanes):
    """array[index : index + 8] = lanes."""

    def build(context, builder, signature, args):
        builder.store(args[2], _pointer(context, builder, signature.args[0], *args[:2]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.uintp, LANES), build


@intrinsic
def prefetch(typing, array, row):
    """Ask for the cache lines at both ends of a row that will be read soon; changes nothing."""

    def build(context, builder, signature, args):
        kind, number, byte = signature.args[0], ir.IntType(32), ir.IntType(8).as_pointer()
        view = context.make_array(kind)(context, builder, args[0])
        start = builder.gep(builder.bitcast(view.data, byte), [
            builder.mul(args[1], builder.extract_value(view.strides, 0))
        ])  # fmt: skip
        last = builder.mul(builder.sub(builder.extract_value(view.shape, 1), ir.IntType(64)(1)), ir.IntType(64)(4))
        kinds = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        hint = builder.module.declare_intrinsic("llvm.prefetch", [byte], kinds)
        for place in (start, builder.gep(start, [last])):
            builder.call(hint, [place, number(0), number(3), number(1)])  # to read, for all caches, data
        return context.get_dummy_value()

    return types.void(array, types.intp), build


@intrinsic
def everywhere(typing, number):
    """The number in every lane."""

    def build(context, builder, signature, args):
        return _everywhere(builder, args[0])

    return LANES(types.float32), build


@intrinsic
def where(typing, mask, yes, no):
    """Lane by lane, `yes` where the mask is true, else `no` (lanes or numbers)."""

    def build(context, builder, signature, args):
        return builder.select(args[0], *(_everywhere(builder, a) for a in args[1:]))

    return LANES(MASK, yes, no), build


def _built_in(name: str) -> Callable[..., Any]:
    """One of LLVM's own functions of a vector."""

    def build(context, builder, signature, args):
        kind = ir.FunctionType(VECTOR, [VECTOR])
        return builder.call(get_or_insert_function(builder.module, kind, f"llvm.{name}.v{COUNT}f32"), args)

    return build


@intrinsic
def root(typing, lanes):
    """Square roots of lanes."""
    return LANES(LANES), _built_in("sqrt")


@intrinsic
def ceiling(typing, lanes):
    """Lanes rounded up."""
    return LANES(LANES), _built_in("ceil")


@intrinsic
def nearest(typing, lanes):
    """The whole numbers nearest to lanes."""
    return LANES(LANES), _built_in("rint")


@intrinsic
def scaled(typing, lanes, powers):
    """Lanes times two to the power of whole lanes: their exponents moved."""
    whole = ir.VectorType(ir.IntType(32), COUNT)

    def build(context, builder, signature, args):
        moved = builder.shl(builder.fptosi(args[1], whole), ir.Constant(whole, [23] * COUNT))
        return builder.bitcast(builder.add(builder.bitcast(args[0], whole), moved), VECTOR)

    return LANES(LANES, LANES), build


@intrinsic
def transposed(typing, a, b, c, d, e, f, g, h):
    """Eight lanes turned over: the first of each, the second of each, and so on."""

    def build(context, builder, signature, args):
        def pairs(values, apart, low, high):
            """Each value beside that so many further, by their lower and their upper halves."""
            made = list(values)
            for k in (k for k in range(COUNT) if not k & apart):
                for place, picks in ((k, low), (k + apart, high)):
                    mask = ir.Constant(ir.VectorType(ir.IntType(32), COUNT), picks)
                    made[place] = builder.shuffle_vector(values[k], values[k + apart], mask)
            return made

        values = pairs(args, 1, [0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15])
        values = pairs(values, 2, [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15])
        values = pairs(values, 4, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15])
        return context.make_tuple(builder, signature.return_type, values)

    return types.UniTuple(LANES, COUNT)(*[LANES] * COUNT), build


@intrinsic
def total(typing, lanes):
    """Sum of the lanes, always in the same order: halves, quarters, pairs."""

    def build(context, builder, signature, args):
        value, width = args[0], COUNT
        while width > 1:
            width //= 2
            picks = (ir.Constant(ir.VectorType(ir.IntType(32), width), [*range(k, k + width)]) for k in (0, width))
            value = builder.fadd(*(builder.shuffle_vector(value, value, p) for p in picks))
        return builder.extract_element(value, ir.IntType(32)(0))

    return types.float32(LANES), build


@intrinsic
def any_true(typing, mask):
    """Whether any lane is true."""

    def build(context, builder, signature, args):
        return builder.icmp_unsigned("!=", builder.bitcast(args[0], ir.IntType(COUNT)), ir.IntType(COUNT)(0))

    return types.boolean(MASK), build


@intrinsic
def bits(typing, mask):
    """The truth values as a number, the first lane's lowest."""

    def build(context, builder, signature, args):
        return builder.zext(builder.bitcast(args[0], ir.IntType(COUNT)), ir.IntType(64))

    return types.uint64(MASK), build


@intrinsic
def lowest(typing, number):
    """Which of a number's bits is the lowest that is set; of none, 64."""

    def build(context, builder, signature, args):
        return builder.cttz(args[0], ir.IntType(1)(0))

    return types.uint64(types.uint64), build
