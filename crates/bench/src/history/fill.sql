-- What the stages would have written for $GRANTS grants of $CAMPAIGNS campaigns, some 500 in a transaction, nearly all of them paid.
INSERT INTO chains (id, genesis_hash, head_number, final_number) VALUES (31337, decode(repeat('01', 32), 'hex'), $GRANTS / 500, $GRANTS / 500);
INSERT INTO vaults (chain_id, address, code_hash, deploy_block)
VALUES (31337, decode(repeat('02', 20), 'hex'), decode(repeat('03', 32), 'hex'), 1);
INSERT INTO lanes (vault, address, state, next_nonce) SELECT id, decode(repeat('04', 20), 'hex'), 'active', $GRANTS / 500 FROM vaults;
INSERT INTO players (id, org, external_id, created_at)
SELECT lpad(to_hex(p), 32, '0')::uuid, 1, 'player-' || p, '2026-01-01' FROM generate_series(0, $PLAYERS - 1) p;
INSERT INTO wallet_links (wallet, player, chain_id, version, linked_at)
SELECT decode(lpad(to_hex(p), 40, 'a'), 'hex'), lpad(to_hex(p), 32, '0')::uuid, 31337, 1, '2026-01-01'
FROM generate_series(0, $PLAYERS - 1) p;
INSERT INTO campaigns (id, org, vault, token, name, games, state, wallet_deadline_hours, rule_version, version, created_at)
SELECT c, 1, v.id, decode(repeat(CASE WHEN c % 2 = 0 THEN '08' ELSE '09' END, 20), 'hex'), 'Campaign ' || c, '{quiz}', 'active', 1, 1, 1,
       '2026-01-01'
FROM generate_series(1, $CAMPAIGNS) c, vaults v;
INSERT INTO campaign_rules (campaign, version, rule, reward, created_at, created_by)
SELECT id, 1, 'outcome.score >= 10', '{"kind": "fixed", "amount": "100"}', created_at, 'bench' FROM campaigns;

-- one after the other in time, so that a chunk of 500 is 100 ms
INSERT INTO grants (campaign, number, part, position, idx, outcome, player, amount, rule_version, recorded_at)
SELECT c, n, c % 16, n / 500, n % 500, ('00000000-0000-8000-' || lpad(to_hex(c), 4, '0') || '-' || lpad(to_hex(n), 12, '0'))::uuid,
       lpad(to_hex((n::bigint * 7919 + c) % $PLAYERS), 32, '0')::uuid, (n % 7 + 1) * 100, 1,
       '2026-01-01'::timestamptz + (n / 500) * interval '100 milliseconds'
FROM generate_series(1, $CAMPAIGNS) c, generate_series(0, $GRANTS / $CAMPAIGNS - 1) n;

INSERT INTO exceptions (campaign, number, state, reason, player, chain_id, amount, wallet_until, updated_at)
SELECT campaign, number, (ARRAY['awaiting_wallet', 'held', 'failed', 'compensated'])[(number / 1000) % 4 + 1],
       CASE WHEN (number / 1000) % 4 > 0 THEN 'wallet_deadline_passed' END, player, 31337, amount,
       CASE WHEN (number / 1000) % 4 = 0 THEN recorded_at + interval '1 hour' END, recorded_at
FROM grants WHERE number % 1000 = 17;

INSERT INTO runs (campaign, first_seq, count, numbers, words, first_number, queued_at)
SELECT campaign, min(number) - (min(number) / 1000 + CASE WHEN min(number) % 1000 > 17 THEN 1 ELSE 0 END), count(*),
       array_agg(number ORDER BY number),
       string_agg(decode(lpad(to_hex((number * 7919 + campaign) % $PLAYERS), 40, 'a') || lpad(to_hex((number % 7 + 1) * 100), 24, '0'),
                         'hex'), '' ORDER BY number),
       min(number), min(recorded_at) + interval '50 milliseconds'
FROM grants WHERE number % 1000 <> 17
GROUP BY campaign, number / 500;

INSERT INTO batches (id, lane, nonce, state, deadline, grants, created_at, mined_tx, block_number, block_hash, gas_used, effective_gas_price)
SELECT b.id, l.id, b.nonce, CASE WHEN b.open THEN 'submitted' ELSE 'confirmed' END, 1, b.count, b.queued_at,
       CASE WHEN NOT b.open THEN sha256(b.id::text::bytea) END, CASE WHEN NOT b.open THEN b.nonce / 10 + 1 END,
       CASE WHEN NOT b.open THEN sha256(b.id::text::bytea) END, CASE WHEN NOT b.open THEN 4300000 END,
       CASE WHEN NOT b.open THEN 1000000000 END
FROM lanes l, (
    SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(row_number() OVER w), 12, '0'))::uuid AS id, row_number() OVER w - 1 AS nonce,
           r.count, r.queued_at, first_number >= $GRANTS / $CAMPAIGNS - 1000 AS open
    FROM runs r WINDOW w AS (ORDER BY first_number, campaign)
) b;
INSERT INTO segments (batch, campaign, first_seq, count, total, words_hash, posted_at)
SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(row_number() OVER w), 12, '0'))::uuid, r.campaign, r.first_seq, r.count, 1,
       decode(repeat('05', 32), 'hex'), CASE WHEN first_number < $GRANTS / $CAMPAIGNS - 1000 THEN r.queued_at + interval '3 seconds' END
FROM runs r WINDOW w AS (ORDER BY first_number, campaign);
INSERT INTO attempts (id, batch, number, empty, tx, raw, gas_limit, max_fee_per_gas, max_priority_fee_per_gas, signed_at, chain_time)
SELECT id, id, 0, false, sha256(id::text::bytea), '', 16000000, 2000000000, 1, created_at, 0 FROM batches;
INSERT INTO queues (campaign, vault, next_seq, batched_to)
SELECT r.campaign, v.id, sum(r.count), sum(r.count) FROM runs r, vaults v GROUP BY r.campaign, v.id;

INSERT INTO accounts (campaign, funded, available, reserved, paid, grants)
SELECT campaign, sum(amount) * 2, sum(amount), sum(amount), 0, count(*) FROM grants GROUP BY campaign;
INSERT INTO fundings (campaign, block_number, log_index, tx, cap, added, recorded_at)
SELECT campaign, 1, campaign, decode(repeat('06', 32), 'hex'), funded, funded, '2026-01-01' FROM accounts;
INSERT INTO postings (batch, campaign, grants, amount, tx, recorded_at)
SELECT s.batch, s.campaign, s.count, s.count * 400, b.mined_tx, s.posted_at
FROM segments s JOIN batches b ON b.id = s.batch WHERE s.posted_at IS NOT NULL;
INSERT INTO campaign_journal
    (campaign, part, position, idx, kind, recorded_at, peak_at, lateness, events, amount, first, last, batch, funded, granted, granted_amount,
     released, released_amount, paid, paid_amount, returned)
SELECT campaign, campaign % 16, number / 500, 0, 'TokenGrantRequested', recorded_at, recorded_at, 0, count(*), sum(amount), min(number),
       max(number), NULL, 0, max(number) + 1, sum(sum(amount)) OVER (PARTITION BY campaign ORDER BY number / 500), 0, 0, 0, 0, 0
FROM grants GROUP BY campaign, number / 500, recorded_at;
