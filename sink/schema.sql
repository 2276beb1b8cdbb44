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

-- A reader who needs the copy to stand at one LSN. The stream does not pass it while the row is there and its
-- owner's session lives.
CREATE TABLE tezcat.hold (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    lsn     pg_lsn NOT NULL,
    pid     integer NOT NULL,
    started timestamptz NOT NULL               -- backend_start of pid, since pids come again
);
