-- What the audit has read of each chain by itself, from receipts and transactions that hash to the roots in headers that
-- lead to the ledger's own final block. Nothing but the audit writes here, and it reads nothing of it that the chain
-- could not tell again: it may be emptied at any time.

-- Up to which block.
CREATE TABLE audit_checkpoints (
    chain_id bigint PRIMARY KEY,
    number bigint NOT NULL,
    hash bytea NOT NULL CHECK (length(hash) = 32)
);

-- Every segment that a vault settled, with the words of the transaction's data.
CREATE TABLE audit_settlements (
    chain_id bigint NOT NULL,
    block_number bigint NOT NULL,
    log_index integer NOT NULL,
    block_hash bytea NOT NULL CHECK (length(block_hash) = 32),
    tx bytea NOT NULL CHECK (length(tx) = 32),
    vault bytea NOT NULL CHECK (length(vault) = 20),
    sender bytea NOT NULL CHECK (length(sender) = 20),
    nonce bigint NOT NULL,
    -- as CampaignId::number: a stranger's may be negative
    campaign bigint NOT NULL,
    first_seq bigint NOT NULL,
    -- none where the words are not to be found in a stranger's data
    count integer NOT NULL CHECK (count >= 0),
    total numeric(78, 0) NOT NULL CHECK (total >= 0),
    words_hash bytea NOT NULL CHECK (length(words_hash) = 32),
    words bytea NOT NULL CHECK (length(words) = 32 * count),
    -- the bits that were set, in bitmap words from first_seq >> 8
    paid bytea NOT NULL,
    paid_count integer NOT NULL CHECK (paid_count >= 0),
    PRIMARY KEY (chain_id, block_number, log_index)
);
CREATE INDEX audit_settlements_place ON audit_settlements (campaign, first_seq);
CREATE INDEX audit_settlements_tx ON audit_settlements (tx);
ALTER TABLE audit_settlements ALTER COLUMN words SET STORAGE EXTERNAL;

-- What else a vault logged that the books depend on.
CREATE TABLE audit_logs (
    chain_id bigint NOT NULL,
    block_number bigint NOT NULL,
    log_index integer NOT NULL,
    tx bytea NOT NULL CHECK (length(tx) = 32),
    vault bytea NOT NULL CHECK (length(vault) = 20),
    kind text NOT NULL CHECK (kind IN ('capped', 'cancelled', 'released')),
    campaign bigint NOT NULL,
    -- of a cap
    token bytea CHECK (length(token) = 20),
    cap numeric(78, 0),
    -- of a cancellation: which bitmap word, and the bits that it burned
    word bigint,
    mask bytea CHECK (length(mask) = 32),
    PRIMARY KEY (chain_id, block_number, log_index),
    CHECK ((kind = 'capped') = (token IS NOT NULL AND cap IS NOT NULL)),
    CHECK ((kind = 'cancelled') = (word IS NOT NULL AND mask IS NOT NULL))
);
CREATE INDEX audit_logs_campaign ON audit_logs (campaign, kind);

-- Up to which chunk of each partition the journal's digests were verified.
CREATE TABLE audit_journal (
    part smallint PRIMARY KEY,
    next bigint NOT NULL CHECK (next >= 0)
);

-- Every comparison that was made.
CREATE TABLE reconciliations (
    id uuid PRIMARY KEY,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    -- everything was read again, not only what is new
    whole boolean NOT NULL,
    -- the only campaign that was looked at, if it was one
    campaign bigint,
    campaigns integer NOT NULL CHECK (campaigns >= 0),
    places bigint NOT NULL CHECK (places >= 0),
    settlements bigint NOT NULL CHECK (settlements >= 0),
    -- how many findings of each severity; the first of each code are told in full
    critical bigint NOT NULL CHECK (critical >= 0),
    errors bigint NOT NULL CHECK (errors >= 0),
    warnings bigint NOT NULL CHECK (warnings >= 0)
);
CREATE INDEX reconciliations_all ON reconciliations (started_at) WHERE campaign IS NULL;

-- At which block of each chain.
CREATE TABLE reconciled_chains (
    reconciliation uuid NOT NULL REFERENCES reconciliations (id),
    chain_id bigint NOT NULL,
    number bigint NOT NULL,
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (reconciliation, chain_id)
);

-- What operators say that they have dealt with.
CREATE TABLE acknowledgements (
    code text NOT NULL,
    about text NOT NULL,
    acknowledged_at timestamptz NOT NULL,
    PRIMARY KEY (code, about)
);

CREATE TABLE findings (
    reconciliation uuid NOT NULL REFERENCES reconciliations (id),
    number integer NOT NULL CHECK (number >= 0),
    severity text NOT NULL CHECK (severity IN ('critical', 'error', 'warning')),
    code text NOT NULL,
    about text NOT NULL,
    detail text NOT NULL,
    -- whose it is; nothing where it concerns the whole system
    campaign bigint,
    org integer,
    PRIMARY KEY (reconciliation, number)
);
