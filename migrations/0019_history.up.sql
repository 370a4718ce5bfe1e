-- What the journal says of each campaign's grants and money, found by time, by number and by batch.

-- Of each campaign, which chunks of the journal moved its grants or its money, and what all of it adds up to behind them: so what its
-- books said at any moment is one row. A chunk that tells of several batches, or of numbers that do not follow each other, is a row for each.
CREATE TABLE campaign_journal (
    campaign bigint NOT NULL,
    part smallint NOT NULL,
    position bigint NOT NULL,
    -- of the first of the events in the chunk
    idx integer NOT NULL,
    kind text NOT NULL,
    recorded_at timestamptz NOT NULL,
    -- the latest time up to here, and by how many microseconds at the most a row up to here was behind the latest before it: clocks
    -- differ, and transactions do not end in the order in which they began
    peak_at timestamptz NOT NULL,
    lateness bigint NOT NULL CHECK (lateness >= 0),
    events integer NOT NULL CHECK (events > 0),
    -- what they moved together
    amount numeric(78, 0) NOT NULL CHECK (amount >= 0),
    -- the numbers of new grants, or their sequence numbers when they are given: no two rows of a kind have the same
    first bigint,
    last bigint,
    batch uuid,
    -- from the beginning up to the end of the chunk
    funded numeric(78, 0) NOT NULL,
    granted bigint NOT NULL,
    granted_amount numeric(78, 0) NOT NULL,
    released bigint NOT NULL,
    released_amount numeric(78, 0) NOT NULL,
    paid bigint NOT NULL,
    paid_amount numeric(78, 0) NOT NULL,
    returned numeric(78, 0) NOT NULL,
    PRIMARY KEY (campaign, position, idx),
    CHECK ((first IS NULL) = (last IS NULL) AND first <= last)
);
-- named as a table that is made like this one names them
CREATE INDEX ON campaign_journal (campaign, peak_at, position, idx);
CREATE INDEX ON campaign_journal (campaign, kind, first) WHERE first IS NOT NULL;
CREATE INDEX ON campaign_journal (batch, campaign) WHERE batch IS NOT NULL;

-- It is kept with the statistics, which read the same events: they are counted again from the beginning of the journal.
DELETE FROM campaign_stats;
DELETE FROM campaign_met;
DELETE FROM campaign_hours;
UPDATE cursors SET next = 0 WHERE stage = 'campaign-stats';

-- The wallets that players have linked, by the wallet.
CREATE TABLE wallet_links (
    wallet bytea NOT NULL CHECK (length(wallet) = 20),
    player uuid NOT NULL,
    chain_id bigint NOT NULL,
    version integer NOT NULL,
    linked_at timestamptz NOT NULL,
    PRIMARY KEY (wallet, player, chain_id, version)
);

CREATE INDEX batches_block ON batches (block_number) WHERE block_number IS NOT NULL;
