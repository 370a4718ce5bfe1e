-- Refused while anything was undone: without their turns the rows of one transfer cannot be told apart.
CREATE OR REPLACE VIEW grant_states AS
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
    ORDER BY b.created_at DESC
    LIMIT 1
) b ON true;
DROP VIEW standing_voids;
ALTER TABLE adoptions DROP CONSTRAINT adoptions_chain_id_tx_log_index_turn_fkey, DROP COLUMN turn;
CREATE OR REPLACE VIEW open_suspense AS
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
CREATE OR REPLACE VIEW transfers AS
SELECT campaign, recorded_at, 'funding' AS kind, block_number || '/' || log_index AS reference,
       'chain' AS debit, 'available' AS credit, added AS amount
FROM fundings
UNION ALL
SELECT campaign, recorded_at, 'hold', campaign || '-' || number, 'available', 'reserved', amount FROM grants
UNION ALL
SELECT campaign, recorded_at, 'post', batch::text, 'reserved', 'paid', amount FROM postings
UNION ALL
SELECT campaign, recorded_at, 'void', campaign || '-' || number, 'reserved', 'available', amount FROM voids;
ALTER TABLE suspense
    DROP CONSTRAINT suspense_pkey,
    ADD PRIMARY KEY (chain_id, tx, log_index),
    DROP COLUMN turn,
    ADD CONSTRAINT suspense_amount_check CHECK (amount > 0);
ALTER TABLE adoptions
    ADD CONSTRAINT adoptions_chain_id_tx_log_index_fkey
        FOREIGN KEY (chain_id, tx, log_index) REFERENCES suspense (chain_id, tx, log_index);
ALTER TABLE voids
    DROP CONSTRAINT voids_pkey,
    ADD PRIMARY KEY (campaign, number),
    DROP COLUMN turn,
    ADD CONSTRAINT voids_amount_check CHECK (amount > 0);
ALTER TABLE fundings
    DROP CONSTRAINT fundings_pkey,
    ADD PRIMARY KEY (campaign, block_number, log_index),
    DROP COLUMN turn,
    ADD CONSTRAINT fundings_added_check CHECK (added >= 0);
ALTER TABLE postings
    DROP CONSTRAINT postings_pkey,
    ADD PRIMARY KEY (batch, campaign),
    DROP COLUMN turn,
    ADD CONSTRAINT postings_grants_check CHECK (grants > 0),
    ADD CONSTRAINT postings_amount_check CHECK (amount > 0);
DROP TABLE rebases;
DROP TABLE reholdings;
ALTER TABLE accounts DROP COLUMN overdrawn;
DELETE FROM sightings WHERE final;
ALTER TABLE sightings DROP COLUMN final;
DROP TABLE skipped_seqs;
DROP TABLE skipped_nonces;
