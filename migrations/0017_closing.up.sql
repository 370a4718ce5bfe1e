-- Campaigns that come to their end: the vault releases what they did not pay, the books give it back, and the treasury withdraws it.

ALTER TABLE campaigns DROP CONSTRAINT campaigns_state_check;
ALTER TABLE campaigns ADD CONSTRAINT campaigns_state_check
    CHECK (state IN ('draft', 'scheduled', 'active', 'paused', 'ended', 'closing', 'closed', 'deleted'));

-- Campaigns of which the vault pays nothing any more, in final blocks; gone again if the chain takes the block back.
CREATE TABLE releases (
    campaign bigint PRIMARY KEY REFERENCES campaigns (id),
    tx bytea NOT NULL CHECK (length(tx) = 32),
    block_number bigint NOT NULL,
    -- what the cap held beyond what was paid
    amount numeric(78, 0) NOT NULL CHECK (amount >= 0),
    recorded_at timestamptz NOT NULL
);

-- What the books gave back of a released campaign once nothing of it was held any more: available -> returned. One that the chain
-- took back is undone by the next turn, as other transfers are.
CREATE TABLE returns (
    campaign bigint NOT NULL REFERENCES campaigns (id),
    turn integer NOT NULL CHECK (turn >= 0),
    -- the transaction that released it
    tx bytea NOT NULL CHECK (length(tx) = 32),
    amount numeric(78, 0) NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (campaign, turn),
    CHECK (amount = 0 OR (turn % 2 = 0) = (amount > 0))
);
CREATE TRIGGER returns_change BEFORE UPDATE OR DELETE ON returns
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE OR REPLACE VIEW transfers AS
SELECT campaign, recorded_at, CASE WHEN turn % 2 = 0 THEN 'funding' ELSE 'funding_undone' END AS kind,
       block_number || '/' || log_index AS reference,
       CASE WHEN turn % 2 = 0 THEN 'chain' ELSE 'available' END AS debit,
       CASE WHEN turn % 2 = 0 THEN 'available' ELSE 'chain' END AS credit, abs(added)::numeric(78, 0) AS amount
FROM fundings
UNION ALL
SELECT campaign, recorded_at, 'hold', campaign || '-' || number, 'available', 'reserved', amount FROM grants
UNION ALL
SELECT campaign, recorded_at, CASE WHEN turn % 2 = 0 THEN 'post' ELSE 'post_undone' END, batch::text,
       CASE WHEN turn % 2 = 0 THEN 'reserved' ELSE 'paid' END, CASE WHEN turn % 2 = 0 THEN 'paid' ELSE 'reserved' END,
       abs(amount)::numeric(78, 0)
FROM postings
UNION ALL
SELECT campaign, recorded_at, CASE WHEN turn % 2 = 0 THEN 'void' ELSE 'void_undone' END, campaign || '-' || number,
       CASE WHEN turn % 2 = 0 THEN 'reserved' ELSE 'available' END,
       CASE WHEN turn % 2 = 0 THEN 'available' ELSE 'reserved' END, abs(amount)::numeric(78, 0)
FROM voids
UNION ALL
SELECT campaign, recorded_at, CASE WHEN turn % 2 = 0 THEN 'return' ELSE 'return_undone' END, '0x' || encode(tx, 'hex'),
       CASE WHEN turn % 2 = 0 THEN 'available' ELSE 'returned' END,
       CASE WHEN turn % 2 = 0 THEN 'returned' ELSE 'available' END, abs(amount)::numeric(78, 0)
FROM returns;

-- What the treasury sent last for a cap.
ALTER TABLE funding_requests
    ADD COLUMN step text,
    ADD COLUMN tx bytea CHECK (length(tx) = 32),
    ADD COLUMN sent_at timestamptz,
    ADD CHECK ((step IS NULL) = (tx IS NULL) AND (tx IS NULL) = (sent_at IS NULL));

-- Campaigns that the treasury closes: it has the vault close them, releases them when that may be, and withdraws what is left.
CREATE TABLE closings (
    campaign bigint PRIMARY KEY REFERENCES campaigns (id),
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    error text,
    retry_at timestamptz,
    -- when it looks again how far the chain is
    look_at timestamptz,
    -- what it sent last for it
    step text,
    tx bytea CHECK (length(tx) = 32),
    sent_at timestamptz,
    -- when the vault lets it be released, as the chain says
    closes_at timestamptz,
    -- the nonce that the withdrawal uses, from which block on it was free, and all transactions that were signed with it: a second
    -- nonce is used when a final block has shown what took the first
    nonce bigint CHECK (nonce >= 0),
    since_block bigint CHECK (since_block >= 0),
    attempts bytea[] NOT NULL DEFAULT '{}',
    -- the final transaction that withdrew it, and how much
    withdrawn_tx bytea CHECK (length(withdrawn_tx) = 32),
    withdrawn numeric(78, 0) CHECK (withdrawn >= 0),
    withdrawn_at timestamptz,
    CHECK ((failures = 0) = (error IS NULL) AND (error IS NULL) = (retry_at IS NULL)),
    CHECK ((step IS NULL) = (tx IS NULL) AND (tx IS NULL) = (sent_at IS NULL)),
    CHECK ((nonce IS NULL) = (since_block IS NULL) AND (nonce IS NULL) = (cardinality(attempts) = 0)),
    CHECK ((withdrawn IS NULL) = (withdrawn_at IS NULL))
);
CREATE INDEX closings_open ON closings (campaign) WHERE withdrawn_at IS NULL;
