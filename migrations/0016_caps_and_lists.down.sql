ALTER TABLE campaigns DROP COLUMN listed, DROP COLUMN only_allowed;
DROP TABLE campaign_players;
ALTER TABLE campaign_rules DROP COLUMN amount_per_player_per_day;
