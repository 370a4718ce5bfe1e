-- Projections: dropped and rebuilt from the journal at will.

-- CampaignStatsView: how many grants took each step, how many outcomes were declined for each reason.
CREATE TABLE campaign_stats (
    campaign bigint NOT NULL,
    -- the kind of event, or 'RewardDeclined/' and the reason
    fact text NOT NULL,
    count bigint NOT NULL CHECK (count >= 0),
    PRIMARY KEY (campaign, fact)
) WITH (fillfactor = 50);

-- What a client was answered under an idempotency key.
CREATE TABLE idempotency_keys (
    org integer NOT NULL REFERENCES organisations (id),
    subject text NOT NULL,
    key text NOT NULL,
    route text NOT NULL,
    request_digest bytea NOT NULL CHECK (length(request_digest) = 32),
    status smallint NOT NULL,
    etag text,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org, subject, key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);
