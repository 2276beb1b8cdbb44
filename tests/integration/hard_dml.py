"""Operations that make keys and unique values wander between rows, in every order in which a transaction may do it."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import psycopg
from psycopg import errors

from tests.fix_postgres import Database
from tests.integration.scenes import Rule

Connection = psycopg.Connection[tuple[Any, ...]]

# So few keys that neighbouring transactions meet in them.
KEYS: Final = 24

SCHEMA: Final = """
CREATE SEQUENCE public.seqs;

-- Replica identity default; two secondary unique constraints, one of them masked; values out of line, kept and masked.
CREATE TABLE public.plain (
    id    integer PRIMARY KEY,
    seq   bigint NOT NULL DEFAULT nextval('public.seqs'),
    email text NOT NULL CONSTRAINT plain_email UNIQUE,
    slot  integer CONSTRAINT plain_slot UNIQUE,
    body  text,
    raw   text,
    n     integer NOT NULL DEFAULT 0
);
-- The key is checked when the transaction ends, so it cannot identify rows: they are found by all their values.
CREATE TABLE public.late (
    id   integer PRIMARY KEY DEFERRABLE INITIALLY DEFERRED,
    seq  bigint NOT NULL DEFAULT nextval('public.seqs'),
    slot integer CONSTRAINT late_slot UNIQUE DEFERRABLE INITIALLY DEFERRED,
    body text,
    raw  text,
    n    integer NOT NULL DEFAULT 0
);
ALTER TABLE public.late REPLICA IDENTITY FULL;
-- Whole old rows, and a masked key.
CREATE TABLE public.whole (
    id   integer PRIMARY KEY,
    seq  bigint NOT NULL DEFAULT nextval('public.seqs'),
    slot integer UNIQUE,
    body text,
    raw  text,
    n    integer NOT NULL DEFAULT 0
);
ALTER TABLE public.whole REPLICA IDENTITY FULL;
-- The identity is another index than the primary key, over a masked column.
CREATE TABLE public.indexed (
    id   integer PRIMARY KEY,
    seq  bigint NOT NULL DEFAULT nextval('public.seqs'),
    code text NOT NULL CONSTRAINT indexed_code UNIQUE,
    slot integer,
    body text,
    raw  text,
    n    integer NOT NULL DEFAULT 0
);
ALTER TABLE public.indexed REPLICA IDENTITY USING INDEX indexed_code;
-- An identity column that no UPDATE may set but to its default.
CREATE TABLE public.always (
    id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    seq  bigint NOT NULL DEFAULT nextval('public.seqs'),
    slot integer UNIQUE,
    body text,
    raw  text,
    n    integer NOT NULL DEFAULT 0
);
ALTER TABLE public.plain ALTER body SET STORAGE EXTERNAL, ALTER raw SET STORAGE EXTERNAL;
ALTER TABLE public.late ALTER body SET STORAGE EXTERNAL, ALTER raw SET STORAGE EXTERNAL;
ALTER TABLE public.whole ALTER body SET STORAGE EXTERNAL, ALTER raw SET STORAGE EXTERNAL;
ALTER TABLE public.indexed ALTER body SET STORAGE EXTERNAL, ALTER raw SET STORAGE EXTERNAL;
ALTER TABLE public.always ALTER body SET STORAGE EXTERNAL, ALTER raw SET STORAGE EXTERNAL;

-- A key that is itself stored out of line: updates send it as unchanged.
CREATE TABLE public.long_key (key text PRIMARY KEY, n integer NOT NULL DEFAULT 0, slot integer UNIQUE);
ALTER TABLE public.long_key ALTER key SET STORAGE EXTERNAL;
ALTER TABLE public.long_key SET (toast_tuple_target = 128);

-- Partitions over two levels; a row that moves is a delete in one and an insert in the other.
CREATE TABLE public.parts (
    id     integer,
    region text,
    seq    bigint NOT NULL DEFAULT nextval('public.seqs'),
    slot   integer,
    body   text,
    n      integer NOT NULL DEFAULT 0,
    PRIMARY KEY (id, region),
    UNIQUE (slot, region, id)
) PARTITION BY LIST (region);
CREATE TABLE public.parts_north PARTITION OF public.parts FOR VALUES IN ('north');
CREATE TABLE public.parts_south PARTITION OF public.parts FOR VALUES IN ('south') PARTITION BY HASH (id);
CREATE TABLE public.parts_south_0 PARTITION OF public.parts_south FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE public.parts_south_1 PARTITION OF public.parts_south FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE public.parts_rest PARTITION OF public.parts DEFAULT;
CREATE UNIQUE INDEX ON public.parts_north (slot);

-- Constraints that are no plain unique index: exclusion, deferred exclusion, partial, by expression, NULL as a value.
CREATE TABLE public.spans (
    id    integer PRIMARY KEY,
    span  int4range NOT NULL,
    later int4range,
    EXCLUDE USING gist (span WITH &&),
    EXCLUDE USING gist (later WITH &&) DEFERRABLE INITIALLY DEFERRED
);
CREATE TABLE public.chosen (id integer PRIMARY KEY, team integer NOT NULL, active boolean NOT NULL, word text,
                            alone integer);
CREATE UNIQUE INDEX chosen_one ON public.chosen (team) WHERE active;
CREATE UNIQUE INDEX chosen_word ON public.chosen (lower(word));
CREATE UNIQUE INDEX chosen_alone ON public.chosen (alone) NULLS NOT DISTINCT;

-- References with cascades, one to itself, checked at the end.
CREATE TABLE public.orders (
    id     integer PRIMARY KEY,
    seq    bigint NOT NULL DEFAULT nextval('public.seqs'),
    parent integer REFERENCES public.orders (id) ON UPDATE CASCADE ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED
);
CREATE TABLE public.lines (
    order_id integer REFERENCES public.orders (id) ON UPDATE CASCADE ON DELETE CASCADE,
    n        serial,
    what     text,
    PRIMARY KEY (order_id, n)
);
-- No replica identity: inserts and truncates only.
CREATE TABLE public.heap (n serial, word text);

INSERT INTO public.heap (word) SELECT 'first' FROM generate_series(1, 3);
INSERT INTO public.orders (id) SELECT generate_series(1, 12);
INSERT INTO public.lines (order_id, what) SELECT n % 12 + 1, 'line' FROM generate_series(1, 30) n;
INSERT INTO public.spans SELECT n, int4range(n * 10, n * 10 + 10), int4range(n * 10, n * 10 + 10)
  FROM generate_series(1, 12) n;
INSERT INTO public.chosen SELECT n, n % 4, n <= 4, 'Word ' || n, nullif(n, 1) FROM generate_series(1, 12) n;
INSERT INTO public.long_key SELECT string_agg(md5(n || ' ' || m), ''), n, n FROM generate_series(1, 8) n,
  generate_series(1, 60) m GROUP BY n;
"""

MASKS: Final[dict[str, dict[str, Rule]]] = {
    "public.plain": {"email": "email", "body": "text.lorem"},
    "public.late": {"body": "text.lorem"},
    "public.whole": {"id": "id.int", "body": "text.lorem"},
    "public.indexed": {"code": "email", "body": "text.lorem"},
    "public.always": {"body": "text.lorem"},
    "public.orders": {"id": "id.int", "parent": "id.int"},
    "public.lines": {"order_id": "id.int"},
    "public.parts": {"body": "text.lorem"},
}
KEYED: Final = ("plain", "late", "whole", "indexed", "parts")
WITH_SLOT: Final = ("plain", "late", "whole", "indexed", "always")


class Session:
    """One session of production, and what it decides at random."""

    def __init__(self, connection: Connection, rng: random.Random) -> None:
        self.connection = connection
        self.rng = rng

    def run(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(statement.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def key(self) -> int:
        return self.rng.randint(1, KEYS)

    def long(self) -> str:
        """A value that is stored out of line."""
        return f"{self.rng.getrandbits(64):x} \\ \t\n" * self.rng.randint(130, 200)

    def address(self) -> str:
        return f"p{self.rng.getrandbits(48):x}@kanarienvogel.de"

    def insert(self, table: str, key: int) -> None:
        match table:
            case "plain":
                self.run(
                    "INSERT INTO public.plain (id, email, slot, body, raw) VALUES (%s, %s, %s, %s, %s)",
                    key, self.address(), self.free_slot(table), self.long(), self.long(),
                )  # fmt: skip
            case "indexed":
                self.run(
                    "INSERT INTO public.indexed (id, code, slot, body, raw) VALUES (%s, %s, %s, %s, %s)",
                    key, self.address(), key, self.long(), self.long(),
                )  # fmt: skip
            case "parts":
                region = self.rng.choice(("north", "south", "west"))
                self.run(
                    "INSERT INTO public.parts (id, region, slot, body) VALUES (%s, %s, %s, %s)",
                    key, region, self.free_slot(table), self.long(),
                )  # fmt: skip
            case "always":
                self.run(
                    "INSERT INTO public.always (slot, body, raw) VALUES (%s, %s, %s)",
                    self.free_slot(table), self.long(), self.long(),
                )  # fmt: skip
            case _:
                self.run(
                    f"INSERT INTO public.{table} (id, slot, body, raw) VALUES (%s, %s, %s, %s)",
                    key, self.free_slot(table), self.long(), self.long(),
                )  # fmt: skip

    def free_slot(self, table: str) -> int:
        return int(self.run(f"SELECT coalesce(max(slot), 0) + 1 FROM public.{table}")[0][0])

    def rows(self, table: str, count: int) -> list[int]:
        """The ids of some rows."""
        found = [row[0] for row in self.run(f"SELECT id FROM public.{table} ORDER BY id")]
        return self.rng.sample(found, min(count, len(found)))

    def pause(self) -> None:
        """Where a transaction ends, or goes on."""
        if self.rng.random() < 0.5:
            self.connection.commit()


# ------------------------------------------------------------------------------------------------- operations


def insert(s: Session) -> None:
    s.insert(s.rng.choice((*KEYED, "always")), s.key())


def delete(s: Session) -> None:
    table = s.rng.choice((*KEYED, "always"))
    s.run(f"DELETE FROM public.{table} WHERE id = ANY(%s)", s.rows(table, 1))


def swap_keys_by_a_third(s: Session) -> None:
    table = s.rng.choice(KEYED)
    for one, other in [s.rows(table, 2)]:
        s.run(f"UPDATE public.{table} SET id = -1 WHERE id = %s", one)
        s.run(f"UPDATE public.{table} SET id = %s WHERE id = %s", one, other)
        s.run(f"UPDATE public.{table} SET id = %s WHERE id = -1", other)


def swap_keys_at_once(s: Session) -> None:
    for one, other in [s.rows("late", 2)]:
        if s.rng.random() < 0.5:
            s.run("UPDATE public.late SET id = CASE id WHEN %s THEN %s ELSE %s END WHERE id IN (%s, %s)",
                  one, other, one, one, other)  # fmt: skip
        else:
            # For a while two rows have the same key.
            s.run("UPDATE public.late SET id = %s, n = -1 WHERE id = %s", other, one)
            s.run("UPDATE public.late SET id = %s WHERE id = %s AND n >= 0", one, other)
            s.run("UPDATE public.late SET n = 0 WHERE n = -1")


def chain_keys(s: Session) -> None:
    """1 to 2, 2 to 3, and so on."""
    if s.rng.random() < 0.5:
        s.run("UPDATE public.late SET id = id + %s WHERE id >= %s", s.rng.choice((1, -1)), s.key())
    else:
        table = s.rng.choice(("plain", "whole", "indexed"))
        for (key,) in s.run(f"SELECT id FROM public.{table} WHERE id >= %s ORDER BY id DESC", s.key()):
            s.run(f"UPDATE public.{table} SET id = id + 1 WHERE id = %s", key)


def delete_and_insert_the_same_key(s: Session) -> None:
    table = s.rng.choice(KEYED)
    for key in s.rows(table, s.rng.randint(1, 3)):
        s.run(f"DELETE FROM public.{table} WHERE id = %s", key)
        s.pause()
        s.insert(table, key)
        s.pause()
        if s.rng.random() < 0.5:
            s.run(f"UPDATE public.{table} SET n = n + 1 WHERE id = %s", key)


def a_whole_life(s: Session) -> None:
    """Inserted, updated, and perhaps deleted, all within one transaction or over several."""
    table = s.rng.choice(KEYED)
    key = s.rng.randint(1000, 1000 + KEYS)
    s.insert(table, key)
    s.run(f"UPDATE public.{table} SET n = n + 1 WHERE id = %s", key)
    s.pause()
    s.run(f"UPDATE public.{table} SET body = %s, n = n + 1 WHERE id = %s", s.long(), key)
    s.run(f"UPDATE public.{table} SET id = %s WHERE id = %s", key + 1000, key)
    s.pause()
    if s.rng.random() < 0.8:
        s.run(f"DELETE FROM public.{table} WHERE id = %s", key + 1000)


def touch(s: Session) -> None:
    """Updates of one row that leave other values in TOAST unchanged, in changing sets."""
    table = s.rng.choice((*WITH_SLOT, "parts"))
    for key in s.rows(table, 1):
        columns = ["n", "body"] if table == "parts" else ["n", "raw", "body", "slot"]
        for _ in range(s.rng.randint(2, 4)):
            column = s.rng.choice(columns)
            value = {"n": s.key(), "slot": None}.get(column, s.rng.choice((s.long(), None, "", s.long())))
            s.run(f"UPDATE public.{table} SET {column} = %s WHERE id = %s", value, key)
        if s.rng.random() < 0.3:
            s.run(
                f"UPDATE public.{table} SET id = {'DEFAULT' if table == 'always' else 'id + 3000'} WHERE id = %s", key
            )


def move_unique_values(s: Session) -> None:
    """One row gives a value up and another takes it; within a transaction or over several, and many in a row."""
    table, column = s.rng.choice((*((table, "slot") for table in WITH_SLOT), ("plain", "email"), ("indexed", "code")))
    rows = s.rows(table, s.rng.choice((2, 2, 5)))
    for giver, taker in itertools.pairwise(rows):
        ((value,),) = s.run(f"SELECT {column} FROM public.{table} WHERE id = %s", giver)
        match s.rng.randrange(3):
            case 0:
                s.run(f"DELETE FROM public.{table} WHERE id = %s", giver)
            case _:
                free = s.free_slot(table) if column == "slot" else s.address()
                s.run(f"UPDATE public.{table} SET {column} = %s WHERE id = %s", free, giver)
        s.pause()
        s.run(f"UPDATE public.{table} SET {column} = %s WHERE id = %s", value, taker)
        s.pause()


def rotate_unique_values(s: Session) -> None:
    """A takes what B had, B what C had, C what A had, by a value that nobody has."""
    table = s.rng.choice(WITH_SLOT)
    rows = s.rows(table, s.rng.choice((2, 3)))
    values = [s.run(f"SELECT slot FROM public.{table} WHERE id = %s", row)[0][0] for row in rows]
    if len(rows) < 2:
        return
    s.run(f"UPDATE public.{table} SET slot = -7 WHERE id = %s", rows[0])
    for row, value in zip(rows[1:], values, strict=False):
        s.run(f"UPDATE public.{table} SET slot = %s WHERE id = %s", value, row)
        s.pause()
    s.run(f"UPDATE public.{table} SET slot = %s WHERE id = %s", values[-1], rows[0])


def shift_unique_values(s: Session) -> None:
    s.run("UPDATE public.late SET slot = slot + %s", s.rng.choice((1, -1)))


def move_between_partitions(s: Session) -> None:
    for key in s.rows("parts", 2):
        for region in s.rng.choices(("north", "south", "west", "east"), k=s.rng.randint(1, 3)):
            s.run("UPDATE public.parts SET region = %s, n = n + 1 WHERE id = %s", region, key)
            s.pause()


def exchange_spans(s: Session) -> None:
    for one, other in [s.rows("spans", 2)]:
        (first,), (second,) = (s.run("SELECT span FROM public.spans WHERE id = %s", key)[0] for key in (one, other))
        match s.rng.randrange(3):
            case 0:
                for key, span in ((one, "[90000,90001)"), (other, first), (one, second)):
                    s.run("UPDATE public.spans SET span = %s WHERE id = %s", span, key)
                    s.pause()
            case 1:
                s.run(
                    "UPDATE public.spans a SET later = b.later FROM public.spans b "
                    "WHERE (a.id, b.id) IN ((%s, %s), (%s, %s))",
                    one, other, other, one,
                )  # fmt: skip
            case 2:
                s.run("DELETE FROM public.spans WHERE id = %s", one)
                s.pause()
                s.run("UPDATE public.spans SET span = %s WHERE id = %s", first, other)
                s.pause()
                s.run("INSERT INTO public.spans VALUES (%s, int4range(%s, %s))", one, new := 1000 * s.key(), new + 10)


def choose(s: Session) -> None:
    for one, other in [s.rows("chosen", 2)]:
        match s.rng.randrange(4):
            case 0:
                s.run("UPDATE public.chosen SET active = false WHERE team = (SELECT team FROM public.chosen"
                      " WHERE id = %s)", one)  # fmt: skip
                s.pause()
                s.run("UPDATE public.chosen SET active = true WHERE id = %s", one)
            case 1:
                ((word,),) = s.run("SELECT word FROM public.chosen WHERE id = %s", one)
                s.run("UPDATE public.chosen SET word = NULL WHERE id = %s", one)
                s.pause()
                s.run("UPDATE public.chosen SET word = upper(%s) WHERE id = %s", word, other)
            case 2:
                s.run("UPDATE public.chosen SET alone = id + 500 WHERE alone IS NULL")
                s.pause()
                s.run("UPDATE public.chosen SET alone = NULL WHERE id = %s", one)
            case 3:
                s.run("DELETE FROM public.chosen WHERE id = %s", one)
                s.pause()
                s.run("INSERT INTO public.chosen SELECT %s, team, false, 'WORD ' || %s, %s FROM public.chosen"
                      " WHERE id = %s", one, one, one + 900 + s.key(), other)  # fmt: skip


def lengthen_keys(s: Session) -> None:
    (one, _), (other, _) = s.rng.sample(s.run("SELECT key, n FROM public.long_key"), 2)
    s.run("UPDATE public.long_key SET n = n + 1 WHERE key = %s", one)
    s.run("UPDATE public.long_key SET slot = NULL WHERE key = %s", other)
    match s.rng.randrange(3):
        case 0:
            s.run("UPDATE public.long_key SET key = reverse(key) WHERE key = %s", one)
        case 1:
            for old, new in ((one, "x"), (other, one), ("x", other)):
                s.run("UPDATE public.long_key SET key = %s WHERE key = %s", new, old)
        case 2:
            s.run("DELETE FROM public.long_key WHERE key = %s", one)
            s.run("INSERT INTO public.long_key VALUES (%s, 0)", one)


def cascade(s: Session) -> None:
    for one, other in [s.rows("orders", 2)]:
        s.run("UPDATE public.orders SET parent = %s WHERE id = %s", other, one)
        s.pause()
        match s.rng.randrange(3):
            case 0:
                s.run("UPDATE public.orders SET id = id + 5000 WHERE id = %s", other)
            case 1:
                s.run("DELETE FROM public.orders WHERE id = %s", other)
                s.run("INSERT INTO public.orders (id) VALUES (%s)", other)
            case 2:
                # The child before its parent: the reference is checked at the end.
                new = s.rng.randint(6000, 9999)
                s.run("INSERT INTO public.orders (id, parent) VALUES (%s, %s)", new, new + 1)
                s.run("INSERT INTO public.orders (id) VALUES (%s)", new + 1)
        s.run("INSERT INTO public.lines (order_id, what) VALUES (%s, 'more'), (%s, 'and more')", one, one)


def undo_and_redo(s: Session) -> None:
    """Work that is undone by savepoints, of which nothing may be seen."""
    for _ in range(s.rng.randint(1, 5)):
        s.run("SAVEPOINT one")
        s.rng.choice((insert, delete, touch))(s)
        s.run("SAVEPOINT two")
        s.run("DELETE FROM public.plain WHERE id = ANY(%s)", s.rows("plain", 3))
        s.run(f"ROLLBACK TO {s.rng.choice(('one', 'two'))}")
        s.run("INSERT INTO public.heap (word) VALUES ('kept')")


def many(s: Session) -> None:
    """So many rows that they are applied by COPY, changed before and after."""
    table = s.rng.choice(("late", "whole"))
    start = s.rng.randint(10_000, 90_000)
    s.run(
        f"INSERT INTO public.{table} (id, slot) SELECT %s + n, %s + n FROM generate_series(1, 70) n", start, start * 10
    )
    s.pause()
    s.run(f"UPDATE public.{table} SET n = n + 1, body = 'x' WHERE id BETWEEN %s AND %s + 60", start, start)
    s.pause()
    s.run(f"DELETE FROM public.{table} WHERE id BETWEEN %s AND %s + 65", start, start)


def truncate(s: Session) -> None:
    """With rows before and after it in the same transaction."""
    s.run("INSERT INTO public.heap (word) VALUES ('before')")
    match s.rng.randrange(5):
        case 0:
            s.run("TRUNCATE public.orders CASCADE")
            s.run("INSERT INTO public.orders (id) SELECT generate_series(1, 5)")
        case 1:
            s.run("TRUNCATE public.lines RESTART IDENTITY")
        case 2:
            s.run("TRUNCATE public.parts_south, public.heap RESTART IDENTITY")
        case 3:
            s.run("TRUNCATE public.plain, public.always RESTART IDENTITY CASCADE")
            for key in range(1, 5):
                s.insert("plain", key)
                s.insert("always", key)
        case 4:
            s.run("TRUNCATE ONLY public.parts_north")
    s.run("INSERT INTO public.heap (word) VALUES ('after')")


OPERATIONS: Final[dict[Callable[[Session], None], int]] = {
    insert: 8, delete: 3, swap_keys_by_a_third: 5, swap_keys_at_once: 4, chain_keys: 3,
    delete_and_insert_the_same_key: 6, a_whole_life: 5, touch: 8, move_unique_values: 8, rotate_unique_values: 5,
    shift_unique_values: 2, move_between_partitions: 5, exchange_spans: 5, choose: 6, lengthen_keys: 4, cascade: 5,
    undo_and_redo: 3, many: 1, truncate: 1,
}  # fmt: skip
# What a production refuses because the values are taken, or a drawn row is not there.
REFUSED: Final = (errors.UniqueViolation, errors.ExclusionViolation, errors.ForeignKeyViolation, ValueError)


def work(database: Database, seed: str, transactions: int) -> Counter[str]:
    """Let one session do ``transactions`` operations drawn by ``seed``; how many of each committed."""
    rng = random.Random(seed)
    committed: Counter[str] = Counter()
    with psycopg.connect(database.url) as connection:
        session = Session(connection, rng)
        while committed.total() < transactions:
            [operation] = rng.choices(list(OPERATIONS), list(OPERATIONS.values()))
            try:
                operation(session)
                connection.commit()
                committed[operation.__name__] += 1
            except REFUSED:
                connection.rollback()
    return committed
