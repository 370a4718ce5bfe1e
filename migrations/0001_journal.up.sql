-- The journal: event store and outbox in one. A row is a chunk, all events of one kind that one transaction appended
-- to one partition. Offsets are gapless per partition because the head row is taken by the transaction's last
-- statement and held until it commits: no reader can see offset n + 1 before offset n.

CREATE TABLE organisations (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$')
);
INSERT INTO organisations (name) VALUES ('default');

CREATE TABLE heads (
    part smallint PRIMARY KEY CHECK (part BETWEEN 0 AND 15),
    next bigint NOT NULL DEFAULT 0 CHECK (next >= 0)
) WITH (fillfactor = 50);
INSERT INTO heads (part) SELECT generate_series(0, 15);

CREATE TABLE journal (
    -- as in heads; a foreign key would lock that table, and with it every writer, whenever a range is made
    part smallint NOT NULL CHECK (part BETWEEN 0 AND 15),
    position bigint NOT NULL CHECK (position >= 0),
    kind text NOT NULL,
    version smallint NOT NULL CHECK (version > 0),
    entries integer NOT NULL CHECK (entries > 0),
    recorded_at timestamptz NOT NULL,
    request_id text,
    trace text,
    payload bytea NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    PRIMARY KEY (part, position)
) PARTITION BY RANGE (position);
-- Payloads are read whole and hashed byte for byte: compression would cost both ways.
ALTER TABLE journal ALTER COLUMN payload SET STORAGE EXTERNAL;

-- Large tables grow range by range, so that an old range can be archived whole and a new one has small indexes.
CREATE TABLE ranges (
    name text PRIMARY KEY,
    size bigint NOT NULL CHECK (size > 0),
    append_only boolean NOT NULL,
    upto bigint NOT NULL DEFAULT 0
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;

-- Makes the next range of a ranged table if none holds position `wanted` yet, and returns its name; NULL if there is
-- one, or if somebody else is making it. To be called in a transaction of its own, again and again until it says NULL.
--
-- The range is made apart and then attached. That takes a lock which readers and writers do not mind, where CREATE TABLE
-- ... PARTITION OF would wait for every open reader and have all writers wait behind it. It is empty, so attaching it
-- scans nothing. What it still may wait for is another change of the table, and no longer than the time-out: far less
-- than ranges are made ahead, so that the next tick is soon enough.
CREATE FUNCTION make_range(ranged_name text, wanted bigint) RETURNS text LANGUAGE plpgsql
SET lock_timeout = '500ms' AS $$
DECLARE
    ranged ranges;
    range_name text;
BEGIN
    SELECT * INTO ranged FROM ranges WHERE name = ranged_name AND upto <= wanted FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    range_name := ranged.name || '_r' || lpad((ranged.upto / ranged.size)::text, 6, '0');
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', range_name, ranged.name);
    IF ranged.append_only THEN
        EXECUTE format('CREATE TRIGGER %I BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()',
                       range_name || '_truncate', range_name);
    END IF;
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
                   ranged.name, range_name, ranged.upto, ranged.upto + ranged.size);
    UPDATE ranges SET upto = ranged.upto + ranged.size WHERE name = ranged.name;
    RETURN range_name;
END
$$;

CREATE TRIGGER journal_change BEFORE UPDATE OR DELETE ON journal
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER journal_truncate BEFORE TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

INSERT INTO ranges (name, size, append_only) VALUES ('journal', 1048576, true);

-- Appends chunks, each at the next offset of its partition, and returns the offsets in the order of the chunks. Must
-- be the transaction's last statement. Heads are locked in ascending order, so that two appenders cannot deadlock.
CREATE FUNCTION append_journal(
    parts smallint[], kinds text[], versions smallint[], entry_counts integer[], recorded timestamptz,
    request text, trace_context text, payloads bytea[], digests bytea[]
) RETURNS TABLE (chunk integer, at bigint) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM heads WHERE part = ANY (parts) ORDER BY part FOR NO KEY UPDATE;
    RETURN QUERY
    WITH placed AS (
        SELECT c.ord::integer AS ord, c.part, c.kind, c.version, c.entries, c.payload, c.digest,
               h.next + row_number() OVER (PARTITION BY c.part ORDER BY c.ord) - 1 AS position
        FROM unnest(parts, kinds, versions, entry_counts, payloads, digests)
                 WITH ORDINALITY AS c (part, kind, version, entries, payload, digest, ord)
        JOIN heads h ON h.part = c.part
    ), inserted AS (
        INSERT INTO journal (part, position, kind, version, entries, recorded_at, request_id, trace, payload, digest)
        SELECT p.part, p.position, p.kind, p.version, p.entries, recorded, request, trace_context, p.payload, p.digest
        FROM placed p
    ), moved AS (
        UPDATE heads h SET next = n.next
        FROM (SELECT p.part, max(p.position) + 1 AS next FROM placed p GROUP BY p.part) n
        WHERE h.part = n.part
    )
    SELECT p.ord, p.position FROM placed p ORDER BY p.ord;
END
$$;

-- Where each stage stands in each partition. The row is the fence: a transaction that finds it moved, or cannot lock
-- it, does nothing.
CREATE TABLE cursors (
    stage text NOT NULL,
    part smallint NOT NULL REFERENCES heads (part),
    next bigint NOT NULL DEFAULT 0 CHECK (next >= 0),
    PRIMARY KEY (stage, part)
) WITH (fillfactor = 50);

-- Events that a stage could not handle, and those of the same subject that came after them.
CREATE TABLE dead_letters (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    stage text NOT NULL,
    part smallint NOT NULL,
    position bigint NOT NULL,
    idx integer NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    -- retrying: due again at due_at; dead: attempts are used up; blocked: waits for an earlier letter of its subject
    state text NOT NULL CHECK (state IN ('retrying', 'dead', 'blocked', 'redriven', 'dropped')),
    attempts integer NOT NULL CHECK (attempts >= 0),
    error text,
    due_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (stage, part, position, idx),
    CHECK ((state = 'retrying') = (due_at IS NOT NULL))
);
CREATE INDEX dead_letters_due ON dead_letters (stage, due_at) WHERE state = 'retrying';
CREATE INDEX dead_letters_open ON dead_letters (stage, subject) WHERE state IN ('retrying', 'dead', 'blocked');

-- Deadlines and schedules: durable, fired as events.
CREATE TABLE timers (
    kind text NOT NULL,
    subject text NOT NULL,
    due_at timestamptz NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (kind, subject)
);
CREATE INDEX timers_due ON timers (due_at);

CREATE TABLE alerts (
    code text NOT NULL,
    about text NOT NULL,
    detail text NOT NULL,
    raised_at timestamptz NOT NULL,
    PRIMARY KEY (code, about)
);
