DROP TABLE budget_notices;
DROP SCHEMA rebuilding CASCADE;
DROP TABLE campaign_hours;
DROP TABLE campaign_met;
DELETE FROM campaign_stats;
UPDATE cursors SET next = 0 WHERE stage = 'campaign-stats';
