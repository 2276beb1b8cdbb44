"""Catalogs for tests, written in few words: ``table("public.guests", "id int8 pk", "email text")``.

A column is a name, a type and flags: ``pk``, ``unique``, ``notnull``, ``array``, ``generated``; ``varchar(20)`` and
``char(3)`` have a length, ``enum(a|b)`` has labels.
"""

from __future__ import annotations

import re
from dataclasses import replace

from capture.model import Catalog, Column, ForeignKey, Index, Table, TableName

_TYPE_NAMES = {"char": "bpchar", "int": "int4", "bigint": "int8"}


def column(name: str, type_text: str, *flags: str, attnum: int = 1) -> Column:
    """One column."""
    match = re.fullmatch(r"(\w+)(?:\((.*)\))?", type_text)
    assert match is not None
    base, inside = match[1], match[2]
    return Column(
        name=name,
        attnum=attnum,
        type_oid=0,
        typmod=-1,
        type_name=type_text,
        base_type="mood" if base == "enum" else _TYPE_NAMES.get(base, base),
        kind="e" if base == "enum" else "b",
        is_array="array" in flags,
        max_length=int(inside) if inside and base in {"varchar", "char"} else None,
        not_null="notnull" in flags or "pk" in flags,
        generated="s" if "generated" in flags else "",
        enum_labels=tuple(inside.split("|")) if base == "enum" else (),
    )


def table(name: str, *columns: str, indexes: tuple[Index, ...] = (), root: str | None = None, kind: str = "r") -> Table:
    """One table; ``pk`` columns make its primary key, each ``unique`` column an index of its own."""
    table_name = TableName.parse(name)
    parts = [text.split() for text in columns]
    shapes = [column(*part, attnum=number) for number, part in enumerate(parts, 1)]
    key = tuple(part[0] for part in parts if "pk" in part[2:])
    own = [Index(f"{table_name.name}_pkey", key, is_primary=True)] if key else []
    own += [Index(f"{table_name.name}_{part[0]}_key", (part[0],)) for part in parts if "unique" in part[2:]]
    return Table(
        oid=1,
        name=table_name,
        kind=kind,
        columns=tuple(shapes),
        indexes=(*own, *indexes),
        root=TableName.parse(root) if root else None,
    )


def foreign_key(source: str, target: str) -> ForeignKey:
    """``foreign_key("public.a(x, y)", "public.b(x, y)")``."""
    (table_name, columns), (referenced, referenced_columns) = map(_reference, (source, target))
    return ForeignKey(f"{table_name.name}_{columns[0]}_fkey", table_name, columns, referenced, referenced_columns)


def _reference(text: str) -> tuple[TableName, tuple[str, ...]]:
    name, _, columns = text.removesuffix(")").partition("(")
    return TableName.parse(name), tuple(part.strip() for part in columns.split(","))


def catalog(*tables: Table, foreign_keys: tuple[ForeignKey, ...] = ()) -> Catalog:
    """A catalog of these tables."""
    return Catalog(
        system_identifier="7",
        database="production",
        server_version=180000,
        encoding="UTF8",
        tables={one.name: one for one in tables},
        foreign_keys=foreign_keys,
    )


def hotel() -> Catalog:
    """A small hotel: keys, a composite key, an enum, a generated column, partitions, a table without rows to copy."""
    logs = ("id int8 pk", "at timestamptz pk", "table_name text", "old_record jsonb", "record jsonb")
    return catalog(
        table(
            "public.guests",
            "id int8 pk",
            "email varchar(80) unique",
            "full_name text",
            "phone text",
            "born_on date",
            "notes text",
            "mood enum(glad|sad) notnull",
            "search text generated",
        ),
        table("public.reservations", "id int8 pk", "guest_id int8 notnull", "price numeric", "created_at timestamptz"),
        table("public.participants", "conversation_id int8 pk", "email varchar(80) pk"),
        table("public.messages", "id int8 pk", "conversation_id int8", "sender varchar(80)", "body text"),
        table("public.sessions", "id uuid pk", "token text"),
        table("public.logs", *logs, kind="p"),
        replace(table("public.logs_1", *reversed(logs), root="public.logs"), oid=2),
        foreign_keys=(
            foreign_key("public.reservations(guest_id)", "public.guests(id)"),
            foreign_key("public.participants(email)", "public.guests(email)"),
            foreign_key("public.messages(conversation_id, sender)", "public.participants(conversation_id, email)"),
        ),
    )


HOTEL_RULES = """\
version: 1
tables:
  public.guests:
    columns:
      id: keep
      email: {mask: email}
      full_name: {mask: name.full}
      phone: {mask: phone, preserve_format: true}
      born_on: {mask: date.shift, days: 180}
      notes: {mask: text.lorem}
      mood: keep
  public.reservations: {columns: {id: keep, price: keep, created_at: keep}}
  public.participants: {columns: {conversation_id: keep}}
  public.messages: {columns: {id: keep, body: text.lorem}}
  public.sessions: {rows: none}
  public.logs:
    columns: {id: keep, at: keep, table_name: keep, old_record: row_image, record: row_image}
"""
