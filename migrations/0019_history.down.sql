DROP INDEX batches_block;
DROP TABLE wallet_links;
DELETE FROM cursors WHERE stage = 'wallet-links';
DROP TABLE campaign_journal;
