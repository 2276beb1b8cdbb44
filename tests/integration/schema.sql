-- A lawful schema that is as awkward as real ones are: what each table is here for stands above it.
-- Every table keeps enough unmasked columns that a reader can tell which masked row came from which original.

CREATE SCHEMA "Odd Schema";
CREATE TYPE public.reservation_status AS ENUM ('requested', 'confirmed', 'checked in', 'it''s "over"');
CREATE TYPE public.price AS (currency char(3), amount numeric);
CREATE DOMAIN public.email_address AS text CHECK (VALUE LIKE '%_@_%');
CREATE DOMAIN public.positive AS integer CHECK (VALUE > 0);
CREATE SEQUENCE public.invoice_numbers AS smallint INCREMENT BY 3;
SELECT setval('public.invoice_numbers', 4711);
CREATE SEQUENCE public.message_ids;

CREATE FUNCTION public.initials(first text, last text) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN upper(left(first, 1) || left(last, 1));
CREATE PROCEDURE public.tidy() LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM public.page_views WHERE path = 'nowhere';
END $$;

-- An audit trail: a trigger writes images of whole rows, under the name of the partition where there is one.
CREATE TABLE public.audit_logs (
    id           bigserial PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    table_schema text NOT NULL,
    table_name   text NOT NULL,
    operation    text NOT NULL,
    old_row      jsonb,
    new_row      jsonb
);
CREATE FUNCTION public.write_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.audit_logs (table_schema, table_name, operation, old_row, new_row)
    VALUES (TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP,
            CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
            CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END);
    RETURN NULL;
END $$;

-- The centre of the person's data: identity ALWAYS, a dropped column, a domain type, a reference to itself, half of a
-- cycle, and two generated columns, one of masked and one of kept values.
CREATE TABLE public.guests (
    id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gone           text DEFAULT 'gone',
    seq            bigserial NOT NULL UNIQUE,
    email          public.email_address NOT NULL UNIQUE,
    first_name     varchar(60),
    last_name      text,
    full_name      text,
    phone          text,
    street         text,
    city           text,
    postcode       varchar(12),
    address        text,
    born_on        date,
    last_seen      timestamptz,
    card           text,
    iban           text,
    loyalty        numeric(12,2),
    credit         numeric,
    notes          text,
    password_hash  text,
    passport       text,
    religion       text,
    aliases        text[],
    preferences    jsonb,
    referred_by    integer REFERENCES public.guests (id) ON UPDATE CASCADE ON DELETE SET NULL,
    favourite      uuid,
    display_name   text GENERATED ALWAYS AS (coalesce(first_name, '') || ' ' || coalesce(last_name, '')) STORED,
    credit_doubled numeric GENERATED ALWAYS AS (credit * 2) STORED,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE public.guests DROP COLUMN gone;
COMMENT ON TABLE public.guests IS 'People, with a quote ''and'' a backslash \ in the comment';
COMMENT ON COLUMN public.guests.email IS E'one line\nand another';
CREATE INDEX guests_by_name ON public.guests (lower(last_name), first_name DESC NULLS LAST) WHERE email IS NOT NULL;
CREATE INDEX guests_by_preferences ON public.guests USING gin (preferences);
CREATE STATISTICS public.guests_where (dependencies) ON city, postcode FROM public.guests;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON public.guests
    FOR EACH ROW EXECUTE FUNCTION public.write_audit();

-- A uuid key that is masked, the other half of the cycle, cascades, deferred checks, a generated column of a range.
CREATE TABLE public.reservations (
    id       uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    code     text NOT NULL UNIQUE,
    guest_id integer NOT NULL,
    status   public.reservation_status NOT NULL DEFAULT 'requested',
    history  public.reservation_status[],
    stay     daterange NOT NULL,
    nights   integer GENERATED ALWAYS AS (upper(stay) - lower(stay)) STORED,
    total    public.price,
    CONSTRAINT reservations_guest FOREIGN KEY (guest_id) REFERENCES public.guests (id)
        ON UPDATE CASCADE ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
ALTER TABLE public.guests ADD CONSTRAINT guests_favourite FOREIGN KEY (favourite) REFERENCES public.reservations (id)
    ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON public.reservations
    FOR EACH ROW EXECUTE FUNCTION public.write_audit();

-- A natural, masked key that is a foreign key too.
CREATE TABLE public.newsletter (
    email public.email_address PRIMARY KEY REFERENCES public.guests (email) ON UPDATE CASCADE ON DELETE CASCADE,
    n     bigserial NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Row level security: only a role that may bypass it sees every row.
CREATE TABLE public.conversations (
    id             bigint GENERATED BY DEFAULT AS IDENTITY (START WITH 1000) PRIMARY KEY,
    reservation_id uuid REFERENCES public.reservations (id) ON DELETE CASCADE,
    subject        text,
    opened_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE public.conversations ENABLE ROW LEVEL SECURITY;
CREATE POLICY only_recent ON public.conversations FOR SELECT USING (opened_at > now() - interval '1 day');

-- A composite key of a kept and a masked column, and a composite foreign key to it.
CREATE TABLE public.participants (
    conversation_id bigint NOT NULL REFERENCES public.conversations (id) ON UPDATE CASCADE ON DELETE CASCADE,
    guest_id        integer NOT NULL REFERENCES public.guests (id) ON UPDATE CASCADE ON DELETE CASCADE,
    seat            smallint NOT NULL,
    email           text,
    nickname        text,
    PRIMARY KEY (guest_id, conversation_id), -- the foreign key below names them in the other order
    UNIQUE (conversation_id, seat)
);
CREATE TABLE public.reactions (
    id              serial PRIMARY KEY,
    conversation_id bigint NOT NULL,
    guest_id        integer,
    emoji           text NOT NULL,
    FOREIGN KEY (conversation_id, guest_id) REFERENCES public.participants (conversation_id, guest_id)
        ON UPDATE CASCADE ON DELETE CASCADE
);

-- Partitions: two levels, one attached with its columns in another order, a default; a wider type that points to a
-- narrower masked key; a sequence that no column owns; a value that goes to TOAST.
CREATE TABLE public.messages (
    id         bigint NOT NULL DEFAULT nextval('public.message_ids'),
    sent_on    date NOT NULL,
    kind       text NOT NULL DEFAULT 'chat',
    sender     bigint REFERENCES public.guests (id) ON UPDATE CASCADE ON DELETE SET NULL,
    body       text,
    attachment text,
    PRIMARY KEY (id, sent_on, kind)
) PARTITION BY RANGE (sent_on);
ALTER TABLE public.messages ALTER COLUMN attachment SET STORAGE EXTERNAL;
CREATE TABLE public.messages_2024 PARTITION OF public.messages FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE public.messages_2025 PARTITION OF public.messages FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')
    PARTITION BY LIST (kind);
CREATE TABLE public.messages_2025_chat PARTITION OF public.messages_2025 FOR VALUES IN ('chat', 'sms');
CREATE TABLE "Odd Schema"."messages 2025 rest" PARTITION OF public.messages_2025 DEFAULT;
CREATE TABLE public.messages_2026 (
    attachment text,
    unused     integer,
    body       text,
    kind       text NOT NULL DEFAULT 'chat',
    sender     bigint,
    sent_on    date NOT NULL,
    id         bigint NOT NULL DEFAULT nextval('public.message_ids')
);
ALTER TABLE public.messages_2026 DROP COLUMN unused;
ALTER TABLE public.messages_2026 ALTER COLUMN attachment SET STORAGE EXTERNAL;
ALTER TABLE public.messages ATTACH PARTITION public.messages_2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE public.messages_default PARTITION OF public.messages DEFAULT;
CREATE TRIGGER audit AFTER UPDATE OR DELETE ON public.messages FOR EACH ROW EXECUTE FUNCTION public.write_audit();

-- Names that need quotes.
CREATE TABLE "Odd Schema"."Select" (
    "Primary Key"         serial PRIMARY KEY,
    "from"                text,
    "naïve ""column"", $1" text NOT NULL DEFAULT E'wh\\ere',
    "Größe"               public.positive
);
CREATE INDEX "Index %s" ON "Odd Schema"."Select" ("naïve ""column"", $1" text_pattern_ops);
CREATE TRIGGER "Audit" AFTER INSERT OR UPDATE OR DELETE ON "Odd Schema"."Select"
    FOR EACH ROW EXECUTE FUNCTION public.write_audit();

-- No key at all, and rows that are equal in every column: replica identity is the full row. json has no equality.
CREATE TABLE public.door_events (
    kind    text,
    door    integer,
    at      timestamptz,
    reading double precision,
    person  text,
    detail  json
);
ALTER TABLE public.door_events REPLICA IDENTITY FULL;

-- The replica identity is a unique index over a masked column; the primary key is not in old images.
CREATE TABLE public.devices (
    id          integer PRIMARY KEY,
    owner_email text NOT NULL,
    label       text,
    settings    json,
    CONSTRAINT devices_owner UNIQUE (owner_email)
);
ALTER TABLE public.devices REPLICA IDENTITY USING INDEX devices_owner;

-- Values stored out of line and left unchanged by updates: under a masked key, and with whole old rows.
CREATE TABLE public.documents (
    id    integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    n     bigserial NOT NULL,
    title text,
    body  text,
    scan  bytea,
    views integer NOT NULL DEFAULT 0
);
ALTER TABLE public.documents ALTER COLUMN body SET STORAGE EXTERNAL, ALTER COLUMN scan SET STORAGE EXTERNAL;
CREATE TABLE public.attachments (
    id      bigserial PRIMARY KEY,
    owner   integer REFERENCES public.guests (id) ON UPDATE CASCADE ON DELETE SET NULL,
    content text,
    caption text,
    pages   integer
);
ALTER TABLE public.attachments ALTER COLUMN content SET STORAGE EXTERNAL, ALTER COLUMN caption SET STORAGE EXTERNAL;
ALTER TABLE public.attachments REPLICA IDENTITY FULL;

-- Constraints that hold at the end of a statement or of a transaction, not after each row.
CREATE TABLE public.rooms (
    id     serial PRIMARY KEY,
    floor  integer NOT NULL,
    number integer NOT NULL,
    rank   integer NOT NULL,
    label  text,
    CONSTRAINT rooms_number UNIQUE (floor, number) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT rooms_rank UNIQUE (rank) DEFERRABLE INITIALLY IMMEDIATE
);
CREATE TABLE public.blackouts (
    id     serial PRIMARY KEY,
    period daterange NOT NULL,
    EXCLUDE USING gist (period WITH &&)
);

-- Not copied at all; no replica identity, so insert and truncate only; never filled; one column.
CREATE TABLE public.sessions (
    token    uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    guest_id integer REFERENCES public.guests (id) ON UPDATE CASCADE ON DELETE CASCADE,
    secret   text
);
CREATE TABLE public.page_views (
    n       bigserial,
    path    text,
    visitor text
);
CREATE TABLE public.nothing (
    id   integer PRIMARY KEY,
    what text
);
CREATE TABLE public.one_column (word text PRIMARY KEY);

-- One column of each kind of type, all kept.
CREATE TABLE public.specimens (
    id      bigserial PRIMARY KEY,
    flag    boolean,
    "char"  "char",
    padded  char(12),
    short   varchar(20),
    small   smallint,
    num     numeric,
    scaled  numeric(20,5),
    real    real,
    double  double precision,
    cash    money,
    bytes   bytea,
    day     date,
    tm      time,
    tmtz    timetz,
    ts      timestamp,
    tstz    timestamptz,
    span    interval,
    net     inet,
    block   cidr,
    mac     macaddr,
    bits    bit varying,
    spot    point,
    words   tsvector,
    uid     uuid,
    doc     json,
    docb    jsonb,
    ints    integer[],
    grid    text[][],
    range   int4range,
    ranges  int4multirange,
    period  tstzrange,
    price   public.price,
    prices  public.price[],
    many    public.positive,
    status  public.reservation_status,
    lsn     pg_lsn
);

CREATE VIEW public.guest_overview WITH (security_barrier) AS
    SELECT g.seq, g.display_name, count(r.id) AS stays
      FROM public.guests g LEFT JOIN public.reservations r ON r.guest_id = g.id
     GROUP BY g.seq, g.display_name;
CREATE MATERIALIZED VIEW public.stays_by_status AS
    SELECT status, count(*) AS stays FROM public.reservations GROUP BY status;
CREATE UNIQUE INDEX ON public.stays_by_status (status);
CREATE RULE no_rename AS ON UPDATE TO public.nothing WHERE new.what IS DISTINCT FROM old.what DO INSTEAD NOTHING;
