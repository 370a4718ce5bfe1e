-- The grant saga: places on the chain, batches, lanes, signed transactions.

-- What differs from the plain way (requested, queued, batched, paid) has a row; the rest is derived.
CREATE TABLE exceptions (
    campaign bigint NOT NULL,
    number bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('awaiting_wallet', 'held', 'queued', 'failed', 'compensated')),
    reason text,
    player uuid NOT NULL,
    chain_id bigint NOT NULL,
    amount numeric(78, 0) NOT NULL,
    wallet_until timestamptz,
    -- given with the place on the chain, then never changed
    seq bigint,
    -- since when its recipient refuses what it is paid
    refused_since timestamptz,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (campaign, number),
    CHECK ((state = 'queued') <= (seq IS NOT NULL)),
    CHECK ((state = 'awaiting_wallet') <= (wallet_until IS NOT NULL AND seq IS NULL))
);
-- what is listed by its state; those that got a place in the end stay, and are many
CREATE INDEX exceptions_state ON exceptions (campaign, state, number) WHERE state <> 'queued';
CREATE INDEX exceptions_seq ON exceptions (campaign, seq) WHERE state <> 'queued';
CREATE INDEX exceptions_awaiting ON exceptions (player, chain_id) WHERE state IN ('awaiting_wallet', 'held');

-- Per campaign: the next sequence number to give, and up to which they are in batches.
CREATE TABLE queues (
    campaign bigint PRIMARY KEY REFERENCES campaigns (id),
    vault integer NOT NULL REFERENCES vaults (id),
    next_seq bigint NOT NULL DEFAULT 0 CHECK (next_seq >= 0),
    batched_to bigint NOT NULL DEFAULT 0 CHECK (batched_to >= 0),
    -- why nothing is planned or signed for it: all that has to end before it goes on
    halted text[] NOT NULL DEFAULT '{}',
    -- the final transaction after which the vault pays nothing of it any more
    released_tx bytea CHECK (length(released_tx) = 32),
    CHECK (batched_to <= next_seq)
) WITH (fillfactor = 50);
CREATE INDEX queues_waiting ON queues (vault) WHERE batched_to < next_seq;

-- Which grants got which sequence numbers, and their words. Never changed.
CREATE TABLE runs (
    campaign bigint NOT NULL REFERENCES campaigns (id),
    first_seq bigint NOT NULL CHECK (first_seq >= 0),
    count integer NOT NULL CHECK (count > 0),
    numbers bigint[] NOT NULL,
    words bytea NOT NULL,
    -- the first grant's number where all came straight from requests; NULL for a run of exceptions
    first_number bigint,
    queued_at timestamptz NOT NULL,
    PRIMARY KEY (campaign, first_seq),
    CHECK (cardinality(numbers) = count),
    CHECK (length(words) = 32 * count)
);
ALTER TABLE runs ALTER COLUMN words SET STORAGE EXTERNAL;
CREATE INDEX runs_number ON runs (campaign, first_number) WHERE first_number IS NOT NULL;
CREATE TRIGGER runs_change BEFORE UPDATE OR DELETE ON runs
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Sequence numbers whose settlement ended without paying them: they go into a batch again, as they are.
CREATE TABLE requeues (
    campaign bigint NOT NULL REFERENCES campaigns (id),
    first_seq bigint NOT NULL,
    count integer NOT NULL CHECK (count > 0),
    -- when it may go
    queued_at timestamptz NOT NULL,
    -- how often the chain would not have paid it
    setbacks integer NOT NULL DEFAULT 0,
    PRIMARY KEY (campaign, first_seq)
);

-- Who may do what only one may do at a time, where no row of its own says it.
CREATE TABLE leases (
    name text PRIMARY KEY,
    holder text NOT NULL,
    lease_until timestamptz NOT NULL
);

CREATE TABLE lanes (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    vault integer NOT NULL REFERENCES vaults (id),
    address bytea NOT NULL CHECK (length(address) = 20),
    state text NOT NULL CHECK (state IN ('active', 'parked', 'halted', 'retired')),
    reason text,
    -- where the key of a lane that was added later comes from (env:NAME, keystore:PATH); never the key
    key_source text,
    next_nonce bigint NOT NULL CHECK (next_nonce >= 0),
    holder text,
    -- rises with every lease: a holder that was replaced finds it moved
    fence bigint NOT NULL DEFAULT 0,
    lease_until timestamptz,
    UNIQUE (vault, address)
) WITH (fillfactor = 50);

-- One nonce of a lane, over all its attempts.
CREATE TABLE batches (
    id uuid PRIMARY KEY,
    lane integer NOT NULL REFERENCES lanes (id),
    nonce bigint NOT NULL CHECK (nonce >= 0),
    state text NOT NULL CHECK (state IN ('submitted', 'mined', 'confirmed', 'reverted')),
    -- block time after which the vault refuses it
    deadline bigint NOT NULL,
    grants integer NOT NULL CHECK (grants >= 0),
    created_at timestamptz NOT NULL,
    -- when a node first took it
    accepted_at timestamptz,
    mined_tx bytea CHECK (length(mined_tx) = 32),
    block_number bigint,
    block_hash bytea CHECK (length(block_hash) = 32),
    -- what the final block says that it cost
    gas_used bigint CHECK (gas_used > 0),
    effective_gas_price numeric(78, 0) CHECK (effective_gas_price >= 0),
    CHECK ((gas_used IS NULL) = (effective_gas_price IS NULL)),
    CHECK (gas_used IS NULL OR state IN ('confirmed', 'reverted')),
    -- of the last change that the watcher reported; an older report changes nothing
    transition bigint NOT NULL DEFAULT 0,
    -- the final transaction that an operator has found to have its nonce: of that nobody is told again
    displaced_by bytea CHECK (length(displaced_by) = 32),
    UNIQUE (lane, nonce)
) WITH (fillfactor = 70);
CREATE INDEX batches_open ON batches (lane, nonce) WHERE state IN ('submitted', 'mined');

CREATE TABLE segments (
    batch uuid NOT NULL REFERENCES batches (id),
    campaign bigint NOT NULL REFERENCES campaigns (id),
    first_seq bigint NOT NULL,
    count integer NOT NULL CHECK (count > 0),
    total numeric(78, 0) NOT NULL CHECK (total > 0),
    words_hash bytea NOT NULL CHECK (length(words_hash) = 32),
    -- places whose words were sent as zero, because their grants cannot be paid now or ever: they are not in the batch
    holes bigint[] NOT NULL DEFAULT '{}',
    -- places that a final block did not pay, of those that were sent: the bitmap says so
    unpaid bigint[] NOT NULL DEFAULT '{}',
    -- set when the books have it
    posted_at timestamptz,
    PRIMARY KEY (campaign, first_seq, batch)
) WITH (fillfactor = 70);
CREATE INDEX segments_batch ON segments (batch);
-- under way, which are few beside those that the books have
CREATE INDEX segments_open ON segments (campaign, first_seq) WHERE posted_at IS NULL;

-- Batches that burn a place instead of settling any.
CREATE TABLE cancels (
    batch uuid PRIMARY KEY REFERENCES batches (id),
    campaign bigint NOT NULL REFERENCES campaigns (id),
    seq bigint NOT NULL CHECK (seq >= 0)
);
CREATE INDEX cancels_place ON cancels (campaign, seq);

-- Every transaction that we signed. The bytes are stored before they are sent. All attempts of a batch have its nonce; they
-- settle its segments, or, if it can no longer be paid, nothing.
CREATE TABLE attempts (
    id uuid PRIMARY KEY,
    batch uuid NOT NULL REFERENCES batches (id),
    -- each outbids the one before it
    number integer NOT NULL CHECK (number >= 0),
    empty boolean NOT NULL,
    tx bytea NOT NULL UNIQUE CHECK (length(tx) = 32),
    raw bytea NOT NULL,
    gas_limit bigint NOT NULL,
    max_fee_per_gas numeric(78, 0) NOT NULL,
    max_priority_fee_per_gas numeric(78, 0) NOT NULL,
    signed_at timestamptz NOT NULL,
    -- the latest block's time when it was signed, in seconds since 1970: what is stuck is judged by the chain's clock
    chain_time bigint NOT NULL,
    UNIQUE (batch, number)
);
ALTER TABLE attempts ALTER COLUMN raw SET STORAGE EXTERNAL;
CREATE TRIGGER attempts_change BEFORE UPDATE OR DELETE ON attempts
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Caps that a manager asked for and the treasury has still to bring onto the chain.
CREATE TABLE funding_requests (
    campaign bigint PRIMARY KEY REFERENCES campaigns (id),
    cap numeric(78, 0) NOT NULL CHECK (cap > 0),
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    -- how often in a row it did not succeed, why the last time, and when it is tried again
    failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    error text,
    retry_at timestamptz,
    CHECK ((failures = 0) = (error IS NULL) AND (error IS NULL) = (retry_at IS NULL))
);
