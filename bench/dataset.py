"""The table that everything is measured on: 12 columns, some 210 bytes a row, a primary key and a unique index.

Rows are made by SQL from their number alone, so two databases can be filled alike without copying.
"""

from __future__ import annotations

from typing import Final

TABLE: Final = """
CREATE TABLE public.people (
  id bigint NOT NULL, email text NOT NULL, first_name text, last_name text, phone text, street text, city text,
  country text, notes text, amount numeric(12,2), active boolean, created_at timestamptz
)"""

INDEXES: Final = (
    "ALTER TABLE public.people ADD PRIMARY KEY (id)",
    "CREATE UNIQUE INDEX people_email ON public.people (email)",
)

# What is the same in production, the copy and the reference when all is applied; none of these columns is masked.
CHECKSUM: Final = "SELECT count(*), sum(id), sum(amount), count(*) FILTER (WHERE active) FROM public.people"

MASKED: Final = """\
version: 1
tables:
  public.people:
    columns:
      id: keep
      email: {mask: email}
      first_name: {mask: name.first}
      last_name: {mask: name.last}
      phone: {mask: phone}
      street: {mask: address.street}
      city: keep
      country: keep
      notes: {mask: text.lorem}
      amount: keep
      active: keep
      created_at: keep
"""

PLAIN: Final = """\
version: 1
tables:
  public.people:
    columns: {id: keep, email: keep, first_name: keep, last_name: keep, phone: keep, street: keep, city: keep,
              country: keep, notes: keep, amount: keep, active: keep, created_at: keep}
"""

# The end of a stream's backlog: its row is the last that production writes.
MARKER: Final = "CREATE TABLE public.backlog_end (id int PRIMARY KEY)"
END: Final = "INSERT INTO public.backlog_end VALUES (1)"
MARKER_RULES: Final = "  public.backlog_end: {columns: {id: keep}}\n"


_CREATED_AT: Final = "timestamptz '2025-01-01 00:00+00' + n * interval '1 second'"


def rows(first: str, last: str, created_at: str = _CREATED_AT) -> str:
    """The SELECT that gives the rows of these numbers, both included."""
    return f"""
SELECT n, 'person.' || n || '@mail' || n % 50 || '.example.com', 'First' || n % 4999, 'Last' || n % 9973,
  '+49 30 ' || lpad((n * 7919 % 10000000)::text, 7, '0'), 'Market Street ' || n % 900, 'City ' || n % 800,
  (ARRAY['DE', 'FR', 'MX', 'JP'])[1 + n % 4], md5(n::text) || ' asked for ' || md5((n + 1)::text),
  (n % 1000000) / 100.0, n % 3 = 0, {created_at}
FROM generate_series({first}::bigint, {last}::bigint) n"""


def fill(count: int) -> str:
    """The statement that inserts the rows from 1 to ``count``."""
    return f"INSERT INTO public.people {rows('1', str(count))}"
