-- More of CampaignStatsView: who takes part, and what is spent when.

-- The players whose outcomes a campaign met, and, once more, those of them whom it granted something.
CREATE TABLE campaign_met (
    campaign bigint NOT NULL,
    player uuid NOT NULL,
    granted boolean NOT NULL,
    PRIMARY KEY (campaign, player, granted)
);

-- What was recorded of a campaign in each hour (UTC).
CREATE TABLE campaign_hours (
    campaign bigint NOT NULL,
    hour timestamptz NOT NULL,
    granted bigint NOT NULL,
    granted_amount numeric(78, 0) NOT NULL,
    declined bigint NOT NULL,
    -- what was given back of grants that came to nothing; below zero where the chain took that back
    released bigint NOT NULL,
    released_amount numeric(78, 0) NOT NULL,
    -- what final blocks paid; below zero where the chain took that back
    paid bigint NOT NULL,
    paid_amount numeric(78, 0) NOT NULL,
    PRIMARY KEY (campaign, hour)
);

-- Where a view is built anew beside the one that is in use.
CREATE SCHEMA rebuilding;

-- What is there already is counted again from the beginning of the journal.
DELETE FROM campaign_stats;
UPDATE cursors SET next = 0 WHERE stage = 'campaign-stats';

-- That a campaign has granted so much of a cap: told once for each.
CREATE TABLE budget_notices (
    campaign bigint NOT NULL REFERENCES campaigns (id),
    percent smallint NOT NULL CHECK (percent BETWEEN 1 AND 100),
    cap numeric(78, 0) NOT NULL CHECK (cap > 0),
    noted_at timestamptz NOT NULL,
    PRIMARY KEY (campaign, cap, percent)
);
