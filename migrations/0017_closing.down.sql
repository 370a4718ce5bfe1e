-- Refused while a campaign is closing or closed: without that its money would be in no account.
DO $$ BEGIN
    IF EXISTS (SELECT FROM campaigns WHERE state IN ('closing', 'closed')) OR EXISTS (SELECT FROM returns) THEN
        RAISE EXCEPTION 'a campaign is closing or closed';
    END IF;
END $$;
DROP TABLE closings;
ALTER TABLE funding_requests DROP COLUMN step, DROP COLUMN tx, DROP COLUMN sent_at;
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
DROP TABLE returns;
DROP TABLE releases;
ALTER TABLE campaigns DROP CONSTRAINT campaigns_state_check;
ALTER TABLE campaigns ADD CONSTRAINT campaigns_state_check
    CHECK (state IN ('draft', 'scheduled', 'active', 'paused', 'ended', 'deleted'));
