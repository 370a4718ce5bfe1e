-- What a recovery leaves out, and taking back what the chain has taken back.

-- Nonces of a lane that the chain has used and nothing of this database knows: they were used in a time that is lost, or by
-- somebody else.
CREATE TABLE skipped_nonces (
    lane integer NOT NULL REFERENCES lanes (id),
    first bigint NOT NULL CHECK (first >= 0),
    count bigint NOT NULL CHECK (count > 0),
    skipped_at timestamptz NOT NULL,
    PRIMARY KEY (lane, first)
);

-- Places that a recovery passed over, because the chain has paid or burned some of them: of the others, what was signed has
-- expired. Those that were paid may be given later, to grants that take an orphan.
CREATE TABLE skipped_seqs (
    campaign bigint NOT NULL REFERENCES campaigns (id),
    first_seq bigint NOT NULL CHECK (first_seq >= 0),
    count bigint NOT NULL CHECK (count > 0),
    skipped_at timestamptz NOT NULL,
    PRIMARY KEY (campaign, first_seq)
);

-- What final blocks held is kept: should the chain take one back, this is what has to be undone.
ALTER TABLE sightings ADD COLUMN final boolean NOT NULL DEFAULT false;

-- The ways back of chains that had contradicted what was final.
CREATE TABLE rebases (
    id uuid PRIMARY KEY,
    chain_id bigint NOT NULL REFERENCES chains (id),
    reason text NOT NULL,
    from_number bigint NOT NULL,
    from_hash bytea NOT NULL CHECK (length(from_hash) = 32),
    to_number bigint NOT NULL CHECK (to_number <= from_number),
    to_hash bytea NOT NULL CHECK (length(to_hash) = 32),
    began_at timestamptz NOT NULL,
    ended_at timestamptz
);
-- one at a time
CREATE UNIQUE INDEX rebases_open ON rebases (chain_id) WHERE ended_at IS NULL;

-- A transfer that the chain took back is undone by a row of its own, with the opposite amount and an odd turn, and written again,
-- with the next even one, if the chain has it again: what these rows sum up to is true at any time.
ALTER TABLE postings
    ADD COLUMN turn integer NOT NULL DEFAULT 0 CHECK (turn >= 0),
    DROP CONSTRAINT postings_grants_check,
    DROP CONSTRAINT postings_amount_check,
    ADD CHECK (grants <> 0 AND amount <> 0 AND (turn % 2 = 0) = (grants > 0) AND (turn % 2 = 0) = (amount > 0)),
    DROP CONSTRAINT postings_pkey,
    ADD PRIMARY KEY (batch, campaign, turn);
ALTER TABLE fundings
    ADD COLUMN turn integer NOT NULL DEFAULT 0 CHECK (turn >= 0),
    DROP CONSTRAINT fundings_added_check,
    ADD CHECK (added = 0 OR (turn % 2 = 0) = (added > 0)),
    DROP CONSTRAINT fundings_pkey,
    ADD PRIMARY KEY (campaign, block_number, log_index, turn);
ALTER TABLE voids
    ADD COLUMN turn integer NOT NULL DEFAULT 0 CHECK (turn >= 0),
    DROP CONSTRAINT voids_amount_check,
    ADD CHECK (amount <> 0 AND (turn % 2 = 0) = (amount > 0)),
    DROP CONSTRAINT voids_pkey,
    ADD PRIMARY KEY (campaign, number, turn);
ALTER TABLE adoptions
    ADD COLUMN turn integer NOT NULL DEFAULT 0,
    DROP CONSTRAINT adoptions_chain_id_tx_log_index_fkey;
ALTER TABLE suspense
    ADD COLUMN turn integer NOT NULL DEFAULT 0 CHECK (turn >= 0),
    DROP CONSTRAINT suspense_amount_check,
    ADD CHECK (amount <> 0 AND (turn % 2 = 0) = (amount > 0)),
    DROP CONSTRAINT suspense_pkey,
    ADD PRIMARY KEY (chain_id, tx, log_index, turn);
ALTER TABLE adoptions
    ADD FOREIGN KEY (chain_id, tx, log_index, turn) REFERENCES suspense (chain_id, tx, log_index, turn);

-- What grants stand on and the vault has no cap for, where the chain took back what was final: a cap, or the proof of a void whose
-- amount others were granted by then. Nothing is available then, and what comes covers this first.
ALTER TABLE accounts
    ADD COLUMN overdrawn numeric(78, 0) NOT NULL DEFAULT 0 CHECK (overdrawn >= 0),
    ADD CHECK (overdrawn = 0 OR available = 0),
    ADD CHECK (overdrawn <= funded);

-- Transactions whose proof the chain took back, of which more holds have to be made again than at once: those after that number.
CREATE TABLE reholdings (
    campaign bigint NOT NULL REFERENCES campaigns (id),
    tx bytea NOT NULL CHECK (length(tx) = 32),
    after bigint NOT NULL,
    PRIMARY KEY (campaign, tx)
);

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
FROM voids;

CREATE OR REPLACE VIEW open_suspense AS
SELECT s.chain_id, s.tx, s.log_index, s.vault, s.on_chain_campaign, s.first_seq, s.block_number, s.block_hash,
       s.amount - coalesce(a.posted, 0) AS open,
       s.amount - coalesce(a.adopted, 0) - coalesce(o.amount, 0) AS unknown
FROM suspense s
LEFT JOIN LATERAL (
    SELECT sum(a.amount) AS adopted, sum(a.amount) FILTER (WHERE p.batch IS NOT NULL) AS posted
    FROM adoptions a LEFT JOIN postings p ON p.batch = a.batch AND p.campaign = a.campaign AND p.turn = 0
    WHERE a.chain_id = s.chain_id AND a.tx = s.tx AND a.log_index = s.log_index
) a ON true
LEFT JOIN LATERAL (
    SELECT sum(o.amount) AS amount FROM orphans o
    WHERE o.chain_id = s.chain_id AND o.tx = s.tx AND o.log_index = s.log_index AND o.number IS NULL
) o ON true
-- the last of its turns, unless that took it back
WHERE s.turn % 2 = 0
  AND NOT EXISTS (SELECT FROM suspense t
                  WHERE t.chain_id = s.chain_id AND t.tx = s.tx AND t.log_index = s.log_index AND t.turn > s.turn);

-- The voids that nothing has undone.
CREATE VIEW standing_voids AS
SELECT * FROM voids v
WHERE v.turn % 2 = 0
  AND NOT EXISTS (SELECT FROM voids u WHERE u.campaign = v.campaign AND u.number = v.number AND u.turn > v.turn);

-- After a rebase a place may be in several batches, and one of them pays it: what is posted comes first, what ended without paying
-- it last.
CREATE OR REPLACE VIEW grant_states AS
SELECT g.campaign, g.number, g.part, g.position, g.idx, g.outcome, g.player, g.amount, g.rule_version, g.recorded_at,
       e.reason, e.wallet_until, p.seq, p.wallet, p.queued_at, b.id AS batch, b.tx, b.block_number, b.posted_at,
       CASE
           WHEN e.state <> 'queued' THEN e.state
           WHEN p.seq IS NULL THEN 'requested'
           WHEN b.id IS NULL OR b.state = 'reverted' OR b.unpaid THEN 'queued'
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
    SELECT b.id, b.block_number, CASE WHEN p.seq <> ALL (s.unpaid) THEN s.posted_at END AS posted_at,
           p.seq = ANY (s.unpaid) AS unpaid, coalesce(b.mined_tx, last.tx) AS tx,
           -- what is mined in its place settles nothing, and is undone when it is final
           CASE WHEN b.state = 'mined' AND last.empty AND last.tx = b.mined_tx THEN 'submitted' ELSE b.state END AS state
    FROM segments s JOIN batches b ON b.id = s.batch
    LEFT JOIN LATERAL (SELECT a.tx, a.empty FROM attempts a WHERE a.batch = b.id
                       ORDER BY a.number DESC LIMIT 1) last ON true
    WHERE s.campaign = g.campaign AND s.first_seq <= p.seq AND s.first_seq > p.seq - 1000
      AND s.first_seq + s.count > p.seq AND p.seq <> ALL (s.holes)
    ORDER BY b.state = 'reverted' OR p.seq = ANY (s.unpaid), s.posted_at IS NULL, b.created_at DESC
    LIMIT 1
) b ON true;
