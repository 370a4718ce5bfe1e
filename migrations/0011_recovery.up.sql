-- A database that is not the one we left: how it is recognised, what is done meanwhile, and what the chain had paid that it
-- does not know.

-- Which database this was when somebody first signed from it, or when it was last recovered.
CREATE TABLE identity (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    epoch uuid NOT NULL,
    -- what PostgreSQL does not tell us is NULL
    system_id text,
    timeline integer,
    database_id bigint NOT NULL,
    noted_at timestamptz NOT NULL
);

-- Which database this is. A cluster that was made anew has another system identifier; one that was promoted or restored to a
-- point in time another timeline; a copy within a cluster, or what a dump was read into, another database id. Not every
-- provider lets everybody ask for all of it.
CREATE FUNCTION present_identity(OUT system_id text, OUT timeline integer, OUT database_id bigint) LANGUAGE plpgsql AS $$
BEGIN
    SELECT oid::bigint INTO database_id FROM pg_database WHERE datname = current_database();
    BEGIN
        SELECT s.system_identifier::text INTO system_id FROM pg_control_system() s;
    EXCEPTION WHEN insufficient_privilege OR undefined_function OR feature_not_supported THEN
        system_id := NULL;
    END;
    -- Not the last checkpoint's, which after a promotion is still the old one for a while.
    BEGIN
        timeline := ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer;
    EXCEPTION WHEN insufficient_privilege OR undefined_function OR feature_not_supported
                   OR object_not_in_prerequisite_state THEN
        timeline := NULL;
    END;
END
$$;

-- Whether this is the database that it was, as far as it can be told. One that nobody has signed from yet is.
CREATE FUNCTION is_same_database() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    noted identity;
    present record;
BEGIN
    SELECT * INTO noted FROM identity;
    IF NOT FOUND THEN
        RETURN true;
    END IF;
    present := present_identity();
    RETURN noted.database_id = present.database_id
       AND coalesce(noted.system_id = present.system_id, true)
       AND coalesce(noted.timeline = present.timeline, true);
END
$$;

-- There while nothing may be signed and no place given, because the chain may know more than this database.
CREATE TABLE quarantine (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    -- of the time after it
    epoch uuid NOT NULL,
    reason text NOT NULL,
    began_at timestamptz NOT NULL
);

-- Whether one is there, or has to begin: behind a pooler nobody may have noticed yet.
-- In PL/pgSQL, whose plans a session keeps.
CREATE FUNCTION in_quarantine() RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM quarantine) OR NOT is_same_database();
END
$$;

-- Block time, in seconds since 1970, up to which something may settle that was signed before.
CREATE TABLE quarantine_chains (
    chain_id bigint PRIMARY KEY REFERENCES chains (id),
    until bigint NOT NULL,
    -- the last final block when that had passed: what settles behind it was not signed before
    last_block bigint
);

ALTER TABLE suspense ADD COLUMN block_number bigint, ADD COLUMN block_hash bytea CHECK (length(block_hash) = 32);

-- Settlements of our lanes in final blocks that this database had not signed.
CREATE TABLE recovered_txs (
    chain_id bigint NOT NULL REFERENCES chains (id),
    tx bytea NOT NULL CHECK (length(tx) = 32),
    lane integer NOT NULL REFERENCES lanes (id),
    nonce bigint NOT NULL,
    deadline bigint NOT NULL,
    raw bytea NOT NULL,
    gas_limit bigint NOT NULL,
    max_fee_per_gas numeric(78, 0) NOT NULL,
    max_priority_fee_per_gas numeric(78, 0) NOT NULL,
    block_number bigint NOT NULL,
    block_hash bytea NOT NULL CHECK (length(block_hash) = 32),
    block_time bigint NOT NULL,
    gas_used bigint NOT NULL,
    effective_gas_price numeric(78, 0) NOT NULL,
    recovered_at timestamptz NOT NULL,
    PRIMARY KEY (chain_id, tx)
);

-- Settlements that this ledger has not signed and that paid nothing, as one is whose places another had paid. There is nothing to
-- explain of them but who signed.
CREATE TABLE unpaid_settlements (
    chain_id bigint NOT NULL REFERENCES chains (id),
    tx bytea NOT NULL CHECK (length(tx) = 32),
    -- of its first segment
    log_index integer NOT NULL,
    vault integer NOT NULL REFERENCES vaults (id),
    block_number bigint NOT NULL,
    block_hash bytea NOT NULL CHECK (length(block_hash) = 32),
    PRIMARY KEY (chain_id, tx)
);

-- Places that they paid and this database never gave: the grants are lost. A grant of the same campaign, recipient and amount
-- takes such a place, and with it the payment.
CREATE TABLE orphans (
    campaign bigint NOT NULL REFERENCES campaigns (id),
    seq bigint NOT NULL CHECK (seq >= 0),
    word bytea NOT NULL CHECK (length(word) = 32),
    chain_id bigint NOT NULL,
    tx bytea NOT NULL,
    log_index integer NOT NULL,
    amount numeric(78, 0) NOT NULL CHECK (amount > 0),
    -- the grant that took it
    number bigint,
    PRIMARY KEY (campaign, seq),
    FOREIGN KEY (chain_id, tx) REFERENCES recovered_txs (chain_id, tx)
);
CREATE INDEX orphans_open ON orphans (campaign, word, seq) WHERE number IS NULL;

-- Batches that were made of such settlements afterwards; several may be of one.
ALTER TABLE batches ADD COLUMN adopted boolean NOT NULL DEFAULT false;
ALTER TABLE batches DROP CONSTRAINT batches_lane_nonce_key;
CREATE UNIQUE INDEX batches_nonce ON batches (lane, nonce) WHERE NOT adopted;

-- What they explain of what is in suspense, as soon as they are posted.
CREATE TABLE adoptions (
    batch uuid NOT NULL REFERENCES batches (id),
    campaign bigint NOT NULL REFERENCES campaigns (id),
    first_seq bigint NOT NULL,
    chain_id bigint NOT NULL,
    tx bytea NOT NULL,
    log_index integer NOT NULL,
    amount numeric(78, 0) NOT NULL CHECK (amount > 0),
    PRIMARY KEY (batch, campaign, first_seq),
    FOREIGN KEY (chain_id, tx, log_index) REFERENCES suspense (chain_id, tx, log_index)
);
CREATE INDEX adoptions_log ON adoptions (chain_id, tx, log_index);

-- What is in suspense: `open` of what a log paid is in no posting; `unknown` of that waits for no grant either.
CREATE VIEW open_suspense AS
SELECT s.chain_id, s.tx, s.log_index, s.vault, s.on_chain_campaign, s.first_seq, s.block_number, s.block_hash,
       s.amount - coalesce(a.posted, 0) AS open,
       s.amount - coalesce(a.adopted, 0) - coalesce(o.amount, 0) AS unknown
FROM suspense s
LEFT JOIN LATERAL (
    SELECT sum(a.amount) AS adopted, sum(a.amount) FILTER (WHERE p.batch IS NOT NULL) AS posted
    FROM adoptions a LEFT JOIN postings p ON p.batch = a.batch AND p.campaign = a.campaign
    WHERE a.chain_id = s.chain_id AND a.tx = s.tx AND a.log_index = s.log_index
) a ON true
LEFT JOIN LATERAL (
    SELECT sum(o.amount) AS amount FROM orphans o
    WHERE o.chain_id = s.chain_id AND o.tx = s.tx AND o.log_index = s.log_index AND o.number IS NULL
) o ON true;

ALTER TABLE queues
    -- how many of the campaign's orphans nobody has taken
    ADD COLUMN orphans bigint NOT NULL DEFAULT 0 CHECK (orphans >= 0),
    -- the place after the last one that was burned on the chain without having been given here
    ADD COLUMN burned_to bigint NOT NULL DEFAULT 0 CHECK (burned_to >= 0);
