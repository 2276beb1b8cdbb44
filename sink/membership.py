"""Keeping the rows of a subset what they must be, when production touched some: which enter the copy, and which leave.

The rows that were touched are given as they are now, masked, with whether their condition is true (``fresh``). The rest
is in the copy: who refers to whom, who was chosen, and who was only needed (``sink.pulled``). Rows may hold each other
up in circles, so none is asked whether anybody still needs it. Instead all that might go with those that go is taken
out at first, and what something else holds comes back:

    touched ─▶ gone: what hangs on them, as it was ─▶ entered: what is chosen, or needed by what stays ─▶ rest leaves

All of it happens in the caller's transaction, in temporary tables of the copy's own types.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Final

import psycopg
import pyarrow as pa

from capture.model import TableName, quote_identifier
from sink.load import copy_in
from sink.pulled import pulled_table
from sink.target import Connection, failure
from transform import copytext
from transform.subset import Reference, Subset, SubsetTable

# Columns of our own beside a table's: no name of theirs begins like this in any schema that we have heard of.
NUMBER: Final = "tezcat:number"
CONDITION: Final = "tezcat:condition"
_STAYS: Final = '"tezcat:stays"'
_NUMBER: Final = f'"{NUMBER}"'
_CONDITION: Final = f'"{CONDITION}"'


class _Table:
    """One table of the subset: the names of all that is kept about it for a moment, and what to say in SQL."""

    def __init__(self, table: SubsetTable, columns: Sequence[str], number: int, *, is_partitioned: bool) -> None:
        self.subset = table
        self.columns = tuple(columns)
        self.name = str(table.table)
        # A partitioned table has no rows itself; of another, the rows of its children are not its own.
        self.rows = self.name if is_partitioned else f"ONLY {self.name}"
        self.pulled = None if table.is_whole else str(pulled_table(table.table))
        self.touched, self.loaded, self.fresh, self.gone, self.entered = (
            f"pg_temp.tezcat_{what}_{number}" for what in ("touched", "loaded", "fresh", "gone", "entered")
        )
        # Whether its temporary tables were made in this session, whether anything may be in them, and among what is
        # gone.
        self.is_made = False
        self.is_concerned = False
        self.has_gone = False
        self.key = ", ".join(map(quote_identifier, table.key))
        self.all = ", ".join(map(quote_identifier, columns))

    def key_of(self, alias: str) -> str:
        """The key's columns of one of these."""
        return ", ".join(f"{alias}.{quote_identifier(name)}" for name in self.subset.key)

    def same(self, first: str, second: str) -> str:
        """That two have the same key."""
        return _equal(first, self.subset.key, second, self.subset.key)

    def unlinked(self, first: str, second: str) -> str:
        """That two differ in what they refer by, or are referred to by."""
        names = dict.fromkeys(name for group in self.subset.groups for name in group)
        return " OR ".join(
            f"{first}.{quote_identifier(name)} IS DISTINCT FROM {second}.{quote_identifier(name)}" for name in names
        )


def _equal(first: str, names: Sequence[str], second: str, others: Sequence[str]) -> str:
    pairs = zip(names, others, strict=True)
    return " AND ".join(f"{first}.{quote_identifier(one)} = {second}.{quote_identifier(two)}" for one, two in pairs)


class SubsetRows:
    """The rows of a copy's subset, over a connection in replica mode. ``columns`` are the copied columns of each root
    table, ``partitioned`` those that are partitioned."""

    def __init__(
        self,
        connection: Connection,
        subset: Subset,
        columns: Mapping[TableName, Sequence[str]],
        partitioned: frozenset[TableName],
    ) -> None:
        self._connection = connection
        self._tables = {
            name: _Table(table, columns[name], number, is_partitioned=name in partitioned)
            for number, (name, table) in enumerate(subset.tables.items())
        }
        self._references = subset.references

    async def _concern(self, table: _Table) -> None:
        """Something is to be kept about a table. Its temporary tables are empty at the end of every transaction."""
        table.is_concerned = True
        if not table.is_made:
            table.is_made = True
            flags = f"NULL::bool AS {_CONDITION}, NULL::int8 AS {_NUMBER}"
            made = {
                table.touched: f"SELECT {table.key} FROM {table.name}",
                table.gone: f"SELECT {table.key} FROM {table.name}",
                table.entered: f"SELECT {table.key}, NULL::bool AS {_CONDITION} FROM {table.name}",
                table.loaded: f"SELECT {table.all}, {flags} FROM {table.name}",
                table.fresh: f"SELECT {table.all}, {flags}, false AS {_STAYS} FROM {table.name}",
            }
            for name, query in made.items():
                await self._run(
                    f"CREATE TEMP TABLE {name.removeprefix('pg_temp.')} ON COMMIT DELETE ROWS AS {query} WITH NO DATA"
                )
                if name not in (table.touched, table.loaded):
                    index = name.removeprefix("pg_temp.") + "_key"
                    await self._run(f"CREATE UNIQUE INDEX {index} ON {name} ({table.key})")

    # ---------------------------------------------------------------------------------------------- what is given

    async def touch(self, table: TableName, keys: Iterable[pa.RecordBatch]) -> None:
        """Rows with these masked keys may be other than the copy has them."""
        held = self._tables[table]
        await self._concern(held)
        await copy_in(self._connection, _temporary(held.touched), held.subset.key, _blocks(keys))

    async def touch_all(self, table: TableName, part: TableName) -> None:
        """Every row may be other than the copy has it, of a table or of that partition of it."""
        held = self._tables[table]
        await self._concern(held)
        await self._run(f"INSERT INTO {held.touched} SELECT {held.key} FROM ONLY {part}")

    async def load(self, table: TableName, rows: Iterable[pa.RecordBatch]) -> None:
        """Rows as production has them now, masked, with ``CONDITION`` and ``NUMBER``; what was given before counts."""
        held = self._tables[table]
        await self._concern(held)
        names = (*held.columns, CONDITION, NUMBER)
        await copy_in(self._connection, _temporary(held.loaded), names, _blocks(rows))
        flags = f"{_CONDITION}, {_NUMBER}"
        await self._run(
            f"INSERT INTO {held.fresh} ({held.all}, {flags}, {_STAYS}) SELECT {held.all}, {flags}, false "
            f"FROM {held.loaded} "
            "ON CONFLICT DO NOTHING"
        )
        await self._run(f"DELETE FROM {held.loaded}")

    # ------------------------------------------------------------------------------------------------------- steps

    async def take_out(self) -> None:
        """Take out what was touched, with all that might go with it; touched rows that nothing is new about but values
        that nobody refers by get those."""
        for table in self._concerned():
            as_before = f"f.{_CONDITION}"
            if table.pulled is not None:
                as_before += f" <> EXISTS (SELECT FROM {table.pulled} p WHERE {table.same('p', 't')})"
            found = await self._run(
                f"INSERT INTO {table.gone} SELECT {table.key_of('t')} FROM {table.rows} t JOIN {table.touched} u "
                f"ON {table.same('u', 't')} WHERE NOT EXISTS (SELECT FROM {table.fresh} f WHERE {table.same('f', 't')} "
                f"AND NOT ({table.unlinked('f', 't')}) AND ({as_before})) ON CONFLICT DO NOTHING"
            )
            table.has_gone = found > 0
        while sum([await self._take_along(reference) for reference in self._references]):
            pass
        for table in self._concerned():
            await self._run(
                f"UPDATE {table.fresh} f SET {_STAYS} = true FROM {table.touched} u, {table.rows} t "
                f"WHERE {table.same('u', 'f')} AND {table.same('t', 'f')} AND NOT {_among(table, 'gone', 'f')}"
            )
            if table.pulled is not None:
                await self._run(
                    f"DELETE FROM {table.pulled} p USING {table.touched} u, {table.gone} g "
                    f"WHERE {table.same('u', 'p')} AND {table.same('g', 'p')}"
                )
            await self._run(f"DELETE FROM {table.rows} t USING {table.touched} u WHERE {table.same('u', 't')}")
            await self._run(f"DELETE FROM {table.gone} g USING {table.touched} u WHERE {table.same('u', 'g')}")
            await self._insert(table, f"f.{_STAYS}")

    async def _take_along(self, reference: Reference) -> int:
        """One step from what is gone to what may hang on it; how many rows were found."""
        own, other = self._tables[reference.table], self._tables[reference.referenced_table]
        refers = _equal("c", reference.columns, "p", reference.referenced_columns)
        # Who is chosen whatever others do stays. Who is chosen with another may have come because it was needed at
        # first, and that other because of it.
        may_go = "true" if other.subset.asks else _among(other, "pulled", "p")
        taken = others_taken = 0
        if own.has_gone:
            await self._concern(other)
            others_taken = await self._run(
                f"INSERT INTO {other.gone} SELECT DISTINCT {other.key_of('p')} FROM {own.gone} g JOIN {own.rows} c "
                f"ON {own.same('g', 'c')} JOIN {other.rows} p ON {refers} WHERE {may_go} ON CONFLICT DO NOTHING"
            )
            other.has_gone |= others_taken > 0
        if reference.asks and other.has_gone:
            await self._concern(own)
            taken = await self._run(
                f"INSERT INTO {own.gone} SELECT DISTINCT {own.key_of('c')} FROM {other.gone} g JOIN {other.rows} p "
                f"ON {other.same('g', 'p')} JOIN {own.rows} c ON {refers} WHERE NOT {_among(own, 'pulled', 'c')} "
                "ON CONFLICT DO NOTHING"
            )
            own.has_gone |= taken > 0
        return taken + others_taken

    async def bring_in(self) -> dict[TableName, list[int]]:
        """Bring in whatever is chosen or needed, as far as it is known; the numbers of the fresh rows that entered by
        this call, by table."""
        while sum([await self._enter(table) for table in self._concerned()]):
            pass
        entered: dict[TableName, list[int]] = {}
        for table in self._concerned():
            rows = await self._fetch(
                f"UPDATE {table.fresh} f SET {_NUMBER} = -1 - {_NUMBER} FROM {table.entered} e "
                f"WHERE {table.same('e', 'f')} AND f.{_NUMBER} >= 0 RETURNING -1 - f.{_NUMBER}"
            )
            if rows:
                entered[table.subset.table] = [row[0] for row in rows]
        return entered

    async def _enter(self, table: _Table) -> int:
        """One step from what is in the copy to what has to be; how many rows were found."""
        into = f"INSERT INTO {table.entered} ({table.key}, {_CONDITION})"
        is_there = f"EXISTS (SELECT FROM {table.rows} t WHERE {table.same('t', 'f')})"
        is_chosen = f"{is_there} AND NOT {_among(table, 'gone', 'f')}"
        if table.pulled is not None:
            is_chosen += f" AND NOT {_among(table, 'pulled', 'f')}"
        found = await self._run(
            f"{into} SELECT {table.key_of('f')}, true FROM {table.fresh} f WHERE f.{_CONDITION} AND NOT f.{_STAYS}"
            f"{self._comes(table, 'f')} AND NOT ({is_chosen}) "
            f"ON CONFLICT ({table.key}) DO UPDATE SET {_CONDITION} = true "
            f"WHERE {table.entered.removeprefix('pg_temp.')}.{_CONDITION} IS NOT TRUE"
        )
        if table.subset.asks:
            # One that was not only needed had its condition true.
            found += await self._run(
                f"{into} SELECT {table.key_of('t')}, true FROM {table.gone} g JOIN {table.rows} t "
                f"ON {table.same('g', 't')} WHERE NOT {_among(table, 'pulled', 't')}{self._comes(table, 't')} "
                "ON CONFLICT DO NOTHING"
            )
        for reference in self._references:
            if reference.referenced_table != table.subset.table:
                continue
            own = self._tables[reference.table]

            def needed(alias: str, own: _Table = own, reference: Reference = reference) -> str:
                refers = _equal("c", reference.columns, alias, reference.referenced_columns)
                return f"EXISTS (SELECT FROM {own.rows} c WHERE {refers} AND NOT {_among(own, 'gone', 'c')})"

            found += await self._run(
                f"{into} SELECT {table.key_of('t')}, CASE WHEN NOT {_among(table, 'pulled', 't')} THEN true END "
                f"FROM {table.gone} g JOIN {table.rows} t ON {table.same('g', 't')} WHERE {needed('t')} "
                "ON CONFLICT DO NOTHING"
            )
            found += await self._run(
                f"{into} SELECT {table.key_of('f')}, f.{_CONDITION} FROM {table.fresh} f "
                f"WHERE NOT f.{_STAYS} AND NOT {is_there} AND {needed('f')} ON CONFLICT DO NOTHING"
            )
        if found:
            await self._run(f"DELETE FROM {table.gone} g USING {table.entered} e WHERE {table.same('e', 'g')}")
            await self._insert(
                table,
                f"{_among(table, 'entered', 'f')} AND NOT {is_there}",
            )
        return found

    def _comes(self, table: _Table, alias: str) -> str:
        """The further condition that a row comes with one that it refers to, where its table asks for that."""
        if not table.subset.asks:
            return ""
        terms = []
        for reference in self._references:
            if reference.table == table.subset.table and reference.asks:
                other = self._tables[reference.referenced_table]
                refers = _equal(alias, reference.columns, "p", reference.referenced_columns)
                terms.append(f"EXISTS (SELECT FROM {other.rows} p WHERE {refers} AND NOT {_among(other, 'gone', 'p')})")
        return f" AND ({' OR '.join(terms)})"

    async def missing(self) -> list[tuple[Reference, list[int]]]:
        """Which fresh rows of the copy refer to a row that is neither there nor fresh: their numbers, by reference."""
        found = []
        for reference in self._references:
            own, other = self._tables[reference.table], self._tables[reference.referenced_table]
            if not own.is_concerned:
                continue
            refers = _equal("f", reference.columns, "p", reference.referenced_columns)
            is_set = " AND ".join(f"f.{quote_identifier(name)} IS NOT NULL" for name in reference.columns)
            rows = await self._fetch(
                f"SELECT -1 - f.{_NUMBER} FROM {own.fresh} f WHERE f.{_NUMBER} < 0 AND {is_set} "
                f"AND NOT EXISTS (SELECT FROM {other.rows} p WHERE {refers})"
                + (f" AND NOT EXISTS (SELECT FROM {other.fresh} p WHERE {refers})" if other.is_concerned else "")
            )
            if rows:
                found.append((reference, [row[0] for row in rows]))
        return found

    async def finish(self) -> None:
        """Let go what did not come back, and note who is only needed now."""
        for table in self._concerned():
            if table.pulled is not None:
                chosen = f"e.{_CONDITION} IS TRUE{self._comes(table, 't')}"
                entered = f"{table.entered} e JOIN {table.rows} t ON {table.same('t', 'e')}"
                await self._run(
                    f"DELETE FROM {table.pulled} q USING (SELECT {table.key_of('t')} FROM {entered} WHERE {chosen}) n "
                    f"WHERE {table.same('n', 'q')}"
                )
                await self._run(
                    f"INSERT INTO {table.pulled} SELECT {table.key_of('t')} FROM {entered} WHERE NOT ({chosen}) "
                    "ON CONFLICT DO NOTHING"
                )
        for table in self._concerned():
            table.is_concerned = table.has_gone = False
            await self._run(f"DELETE FROM {table.rows} t USING {table.gone} g WHERE {table.same('g', 't')}")
            if table.pulled is not None:
                await self._run(f"DELETE FROM {table.pulled} q USING {table.gone} g WHERE {table.same('g', 'q')}")

    # ------------------------------------------------------------------------------------------------------- words

    def _concerned(self) -> list[_Table]:
        return [table for table in self._tables.values() if table.is_concerned]

    async def _insert(self, table: _Table, which: str) -> None:
        into = f"{table.name} ({table.all}) OVERRIDING SYSTEM VALUE"
        await self._run(f"INSERT INTO {into} SELECT {table.all} FROM {table.fresh} f WHERE {which}")

    async def _run(self, statement: str) -> int:
        try:
            return (await self._connection.execute(statement.encode())).rowcount
        except psycopg.Error as error:
            raise failure(error) from None

    async def _fetch(self, statement: str) -> list[tuple[int]]:
        try:
            return await (await self._connection.execute(statement.encode())).fetchall()
        except psycopg.Error as error:
            raise failure(error) from None


def _among(table: _Table, what: str, alias: str) -> str:
    """That a row's key is among those that are kept for a moment, or among the pulled ones."""
    if what != "pulled" and not table.is_concerned:
        return "false"
    return f"EXISTS (SELECT FROM {getattr(table, what)} k WHERE {table.same('k', alias)})"


def _temporary(name: str) -> TableName:
    schema, _, table = name.partition(".")
    return TableName(schema, table)


async def _blocks(batches: Iterable[pa.RecordBatch]) -> AsyncIterator[pa.Buffer]:
    for batch in batches:
        escaped = [copytext.escape(column) for column in batch.columns]
        yield copytext.join(pa.RecordBatch.from_arrays(escaped, schema=batch.schema))
