-- How much one player may get on one UTC day.
ALTER TABLE campaign_rules
    ADD COLUMN amount_per_player_per_day numeric(78, 0) CHECK (amount_per_player_per_day > 0);

-- Whom a campaign treats apart: those who may play where not everybody may, and those who may not.
CREATE TABLE campaign_players (
    campaign bigint NOT NULL REFERENCES campaigns (id),
    player uuid NOT NULL REFERENCES players (id),
    list text NOT NULL CHECK (list IN ('allow', 'deny')),
    listed_by text NOT NULL,
    listed_at timestamptz NOT NULL,
    PRIMARY KEY (campaign, player)
);

ALTER TABLE campaigns
    -- whether only those may play who are allowed
    ADD COLUMN only_allowed boolean NOT NULL DEFAULT false,
    -- whether there are or were any lists: without, nobody looks for one
    ADD COLUMN listed boolean NOT NULL DEFAULT false;
