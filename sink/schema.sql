-- What marks a database as a copy of ours, and what a stream keeps in it.

CREATE SCHEMA tezcat;
COMMENT ON SCHEMA tezcat IS 'This database is a masked copy kept by tezcat. Whatever is written here by hand may be overwritten.';

-- The durable position: one row, changed in the same transaction as what it speaks of.
CREATE TABLE tezcat.progress (
    one               boolean PRIMARY KEY DEFAULT true CHECK (one),
    layout            integer NOT NULL,        -- of this schema; another version of tezcat may have another
    environment       text NOT NULL,
    source            text NOT NULL,
    system_identifier text NOT NULL,           -- of production's cluster
    database          text NOT NULL,           -- production's
    timeline          integer NOT NULL,
    slot              text,                    -- null: cloned once, not followed
    rules_fingerprint text NOT NULL,
    rules             jsonb NOT NULL,          -- hashes of what each table was copied by (transform.identity)
    key_check         text NOT NULL,
    state             text NOT NULL CHECK (state IN ('cloning', 'idle', 'streaming', 'failed')),
    consistent_lsn    pg_lsn,                  -- the snapshot's; null until the clone is whole
    applied_lsn       pg_lsn,                  -- every transaction that ends at or before it is here, no other
    source_time       timestamptz,             -- production's clock at applied_lsn
    published         jsonb NOT NULL,          -- how production published each table when it was cloned
    unfollowed        jsonb NOT NULL,          -- updates and deletes that no stream brings, by table, when cloned
    runner            text,                    -- who may move this row; a second runner replaces it, and the first is fenced
    last_error        text,
    updated_at        timestamptz NOT NULL DEFAULT now()
);

-- A clone that is not finished: one row until the copy is whole, with what it takes to go on after it was killed.
CREATE TABLE tezcat.clone (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    runner    text NOT NULL,                   -- who may finish chunks; a successor replaces it, and the first is fenced
    phase     text NOT NULL CHECK (phase IN ('schema', 'rows', 'indexes', 'settling')),
    base_lsn  pg_lsn NOT NULL,                 -- the rows of finished chunks are exactly production's here
    base_time timestamptz NOT NULL,            -- production's clock there
    catalog   text NOT NULL,                   -- fingerprint of production's tables
    archive   bytea NOT NULL                   -- the schema, as pg_dump wrote it
);

-- The chunks of an unfinished clone that are here, each recorded in the transaction that brought its rows.
CREATE TABLE tezcat.chunks (
    schema_name text NOT NULL,
    table_name  text NOT NULL,
    first_page  bigint NOT NULL,
    end_page    bigint NOT NULL,
    file        bigint NOT NULL,               -- production's relfilenode: the pages are of this one
    rows        bigint NOT NULL,
    bytes       bigint NOT NULL,               -- of COPY text as it left production
    PRIMARY KEY (schema_name, table_name, first_page)
);

-- A reader who needs the copy to stand at one LSN. The stream does not pass it while the row is there and its
-- owner's session lives.
CREATE TABLE tezcat.hold (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    lsn      pg_lsn NOT NULL,
    snapshot text NOT NULL,                    -- production's there, exported by the owner
    pid      integer NOT NULL,
    started  timestamptz NOT NULL              -- backend_start of pid, since pids come again
);
