-- Refused while a campaign is in a state that is not known without this.
DROP INDEX campaigns_scheduled;
ALTER TABLE campaigns DROP CONSTRAINT campaigns_state_check;
ALTER TABLE campaigns ADD CONSTRAINT campaigns_state_check
    CHECK (state IN ('draft', 'active', 'paused', 'ended'));
DROP TABLE campaign_versions;
