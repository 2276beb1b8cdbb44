"""Integers of PostgreSQL's three sizes: what is computed of them is one of the larger size, or no value at all.

Numbers without a size, as numeric's, have no such limit, and neither has what is computed with one of them. Where an
integer has no room, ``Fails`` is raised.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Final, TypeAlias

Number: TypeAlias = int | Decimal


class Sized(int):
    """An integer of a size; ``bits`` are those beside the sign."""

    bits: int


class Small(Sized):
    bits = 15


class Integer(Sized):
    bits = 31


class Big(Sized):
    bits = 63


BY_TYPE: Final[dict[str, type[Sized]]] = {"int2": Small, "int4": Integer, "int8": Big}


class Fails(Exception):
    """The server would compute no value here: it ends the statement with an error."""


def sized(number: int, size: type[Sized]) -> Sized:
    """The integer of that size."""
    if not -(2**size.bits) <= number < 2**size.bits:
        raise Fails
    return size(number)


def smallest(number: int) -> int:
    """An integer that an expression writes: of the first size that has room for it, but no smallint."""
    size = next((size for size in (Integer, Big) if number < 2**size.bits), None)
    return number if size is None else size(number)


def _as_large(function: Callable[..., Number]) -> Callable[..., Number]:
    """A function of numbers, whose result is of the largest of their sizes."""

    def compute(*numbers: Number) -> Number:
        result = function(*numbers)
        sizes = [type(number) for number in numbers if isinstance(number, Sized)]
        if len(sizes) < len(numbers) or not isinstance(result, int):
            return result
        return sized(result, max(sizes, key=lambda size: size.bits))

    return compute


add: Final = _as_large(operator.add)
subtract: Final = _as_large(operator.sub)
multiply: Final = _as_large(operator.mul)
negate: Final = _as_large(operator.neg)
absolute: Final = _as_large(abs)


@_as_large
def remainder(first: Number, second: Number) -> Number:
    """It has the sign of the dividend, as in SQL; raises ``InvalidOperation`` of decimals too far apart."""
    rest: Number = operator.mod(abs(first), abs(second))
    return -rest if first < 0 else rest
