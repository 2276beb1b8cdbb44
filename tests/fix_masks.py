"""What every mask must do, and how tests build one."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from hypothesis import settings

from capture.model import Column
from transform.keyring import KeyRing
from transform.masks import base

# For properties that mask a column many times over; a busy machine is no failure.
MANY_RUNS = settings(max_examples=30, deadline=None)

# What people write into a column of text, and what nobody should.
AWKWARD_TEXTS: list[bytes | None] = [
    text if text is None else text.encode()
    for text in (
        None,
        "",
        " ",
        "a",
        "O'Neill",
        "ANNA",
        "anna",
        "Émile ÇA",
        "李小龍",
        "Иван",
        "\\N",
        "a\tb",
        "😀",
        "x" * 300,
    )
]


def column_of(base_type: str = "text", **shape: Any) -> Column:
    """A column of that type."""
    length = shape.get("max_length")
    name = base_type if length is None else f"{base_type}({length})"
    return Column("c", 1, 0, shape.pop("typmod", -1), name, base_type, **shape)


def mask_of(
    name: str,
    column: Column | None = None,
    *,
    key: bytes = bytes(32),
    unique: bool = False,
    width: int = 64,
    encoding: str = "UTF8",
    rule: Mapping[str, Any] | None = None,
    **params: Any,
) -> base.Mask:
    """The mask of that name as the plan would build it. ``rule`` holds parameters named as one of these."""
    kind = base.mask_kind(name)
    column = column or column_of()
    assert kind.accepts(column.base_type)
    prf = KeyRing(key, "test").prf("domain")
    build = base.Build(prf, column, unique=unique, width=width, encoding=encoding)
    mask = kind.build(kind.params(**params, **(rule or {})), build)
    assert isinstance(mask, base.Mask)
    return mask


def row_mask_of(
    name: str,
    *,
    key: bytes = bytes(32),
    locale: str = "en_US",
    encoding: str = "UTF8",
    subject: str | None = None,
    rule: Mapping[str, Any],
) -> base.RowMask:
    """The same for a mask of text that reads the row; ``locale`` is the rules' own, ``subject`` the column of keys."""
    kind = base.mask_kind(name)
    keys = KeyRing(key, "test")
    person = None if subject is None else (subject, keys.prf("people"))
    build = base.Build(
        keys.prf("domain"), column_of(), locale=locale, encoding=encoding, subject=person, free=frozenset("c")
    )
    mask = kind.build(kind.params(**rule), build)
    assert isinstance(mask, base.RowMask)
    return mask


def uniqueness_of(name: str, column: Column | None = None, **params: Any) -> base.Uniqueness:
    """What the mask of that name claims."""
    kind = base.mask_kind(name)
    return kind.uniqueness(kind.params(**params), column or column_of())


def masked(mask: base.Mask, values: list[bytes | None]) -> list[bytes | None]:
    """What the mask makes of a column."""
    out: list[bytes | None] = mask.apply(pa.array(values, type=pa.binary())).to_pylist()
    return out


def assert_function_of_the_value(mask: base.Mask, values: list[bytes | None]) -> list[bytes | None]:
    """Check that the mask looks at nothing but the value, and that NULL stays NULL; gives the column's masks."""
    column = pa.array(values, type=pa.binary())
    whole = mask.apply(column)
    assert whole.type == pa.binary()
    whole.validate(full=True)
    out: list[bytes | None] = whole.to_pylist()
    assert [value is None for value in out] == [value is None for value in values]
    assert mask.apply(column).to_pylist() == out
    assert pickle.loads(pickle.dumps(mask)).apply(column).to_pylist() == out
    assert masked(mask, values[::-1]) == out[::-1]
    for row in range(len(values)):
        assert mask.apply(column[row : row + 1]).to_pylist() == out[row : row + 1]
    middle = slice(len(values) // 3, len(values))
    assert mask.apply(column[middle]).to_pylist() == out[middle]
    # A NULL may lie over bytes; they are not looked at, and what comes out beside them is the same.
    hidden = pa.BinaryArray.from_buffers(
        pa.binary(), 3, [pa.py_buffer(b"\x05"), pa.py_buffer(bytes([0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0])),
                         pa.py_buffer(b"1229")]
    )  # fmt: skip
    assert mask.apply(hidden).to_pylist() == [*masked(mask, [b"1"]), None, *masked(mask, [b"9"])]
    assert masked(mask, []) == []
    return out


def assert_function_of_the_row(
    mask: base.RowMask, values: list[bytes | None], siblings: dict[str, list[bytes | None]]
) -> list[bytes | None]:
    """Check that the mask looks at nothing but the value and the columns that it names, and that NULL stays NULL; gives
    the column's masks."""
    assert set(siblings) == set(mask.needs)
    row = {name: pa.array(others, type=pa.binary()) for name, others in siblings.items()}
    column = pa.array(values, type=pa.binary())
    whole = mask.apply_rows(column, row)
    assert whole.type == pa.binary()
    whole.validate(full=True)
    out: list[bytes | None] = whole.to_pylist()
    assert [value is None for value in out] == [value is None for value in values]
    assert pickle.loads(pickle.dumps(mask)).apply_rows(column, row).to_pylist() == out
    backwards = pa.array(range(len(values) - 1, -1, -1), pa.int64())
    turned = {name: others.take(backwards) for name, others in row.items()}
    assert mask.apply_rows(column.take(backwards), turned).to_pylist() == out[::-1]
    for start, end in [*((at, at + 1) for at in range(len(values))), (len(values) // 3, len(values)), (0, 0)]:
        part = {name: others[start:end] for name, others in row.items()}
        assert mask.apply_rows(column[start:end], part).to_pylist() == out[start:end]
    return out


def assert_injective(values: list[bytes], out: list[bytes | None]) -> None:
    """Check that no two values met."""
    assert len(set(out)) == len(set(values))
