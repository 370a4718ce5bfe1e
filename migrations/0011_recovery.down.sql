ALTER TABLE queues DROP COLUMN orphans, DROP COLUMN burned_to;
DROP VIEW open_suspense;
DROP TABLE adoptions;
DROP INDEX batches_nonce;
-- Refused while one settlement has several batches: they cannot be told apart without the column.
ALTER TABLE batches DROP COLUMN adopted, ADD CONSTRAINT batches_lane_nonce_key UNIQUE (lane, nonce);
DROP TABLE orphans;
DROP TABLE unpaid_settlements;
DROP TABLE recovered_txs;
ALTER TABLE suspense DROP COLUMN block_number, DROP COLUMN block_hash;
DROP TABLE quarantine_chains;
DROP FUNCTION in_quarantine();
DROP TABLE quarantine;
DROP FUNCTION is_same_database();
DROP FUNCTION present_identity();
DROP TABLE identity;
