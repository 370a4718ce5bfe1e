DROP VIEW grant_states;
DROP TABLE idempotency_keys;
DROP TABLE campaign_stats;
