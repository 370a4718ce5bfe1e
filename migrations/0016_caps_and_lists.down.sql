-- Refused while a campaign treats players apart or caps their days: without that it would grant what it must not.
DO $$ BEGIN
    IF EXISTS (SELECT FROM campaigns WHERE only_allowed) OR EXISTS (SELECT FROM campaign_players)
       OR EXISTS (SELECT FROM campaign_rules WHERE amount_per_player_per_day IS NOT NULL) THEN
        RAISE EXCEPTION 'a campaign has lists, or caps that are not known without them';
    END IF;
END $$;
ALTER TABLE campaigns DROP COLUMN listed, DROP COLUMN only_allowed;
DROP TABLE campaign_players;
ALTER TABLE campaign_rules DROP COLUMN amount_per_player_per_day;
