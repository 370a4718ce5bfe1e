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

-- Every grant with the state that follows from where it is. A run's numbers span at most 10,000: requests come some
-- thousands at a time, and one that was set aside has a run of its own, in the middle of another's span. A segment holds
-- at most 1,000 places.
CREATE VIEW grant_states AS
SELECT g.campaign, g.number, g.part, g.position, g.idx, g.outcome, g.player, g.amount, g.rule_version, g.recorded_at,
       e.reason, e.wallet_until, p.seq, p.wallet, p.queued_at, b.id AS batch, b.tx, b.block_number, b.posted_at,
       CASE
           WHEN e.state <> 'queued' THEN e.state
           WHEN p.seq IS NULL THEN 'requested'
           WHEN b.id IS NULL OR b.state = 'reverted' THEN 'queued'
           WHEN b.posted_at IS NOT NULL THEN 'completed'
           ELSE b.state
       END AS state
FROM grants g
LEFT JOIN exceptions e ON e.campaign = g.campaign AND e.number = g.number
LEFT JOIN LATERAL (
    SELECT r.first_seq + i.at - 1 AS seq, r.queued_at,
           substring(r.words FROM (32 * (i.at - 1) + 1)::integer FOR 20) AS wallet
    FROM (
        (SELECT * FROM runs r
         WHERE e.seq IS NULL AND r.campaign = g.campaign AND r.first_number <= g.number
           AND r.first_number > g.number - 10000 AND g.number = ANY (r.numbers)
         ORDER BY r.first_number DESC LIMIT 1)
        UNION ALL
        (SELECT * FROM runs r
         WHERE e.seq IS NOT NULL AND r.campaign = g.campaign AND r.first_seq <= e.seq
         ORDER BY r.first_seq DESC LIMIT 1)
    ) r
    CROSS JOIN LATERAL (SELECT array_position(r.numbers, g.number) AS at) i
    WHERE i.at IS NOT NULL
) p ON true
LEFT JOIN LATERAL (
    SELECT b.id, b.block_number, s.posted_at, coalesce(b.mined_tx, last.tx) AS tx,
           -- what is mined in its place settles nothing, and is undone when it is final
           CASE WHEN b.state = 'mined' AND last.empty AND last.tx = b.mined_tx THEN 'submitted' ELSE b.state END AS state
    FROM segments s JOIN batches b ON b.id = s.batch
    LEFT JOIN LATERAL (SELECT a.tx, a.empty FROM attempts a WHERE a.batch = b.id
                       ORDER BY a.number DESC LIMIT 1) last ON true
    WHERE s.campaign = g.campaign AND s.first_seq <= p.seq AND s.first_seq > p.seq - 1000
      AND s.first_seq + s.count > p.seq AND p.seq <> ALL (s.holes)
    -- a place is in one batch at a time; when each was made is what different clocks said
    ORDER BY b.state = 'reverted', b.created_at DESC
    LIMIT 1
) b ON true;
