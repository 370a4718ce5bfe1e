-- What a campaign was at every moment: a row for each version, with who made it so and why. The journal has hashes of what is
-- written here, so that it can be erased and what is left can still be checked.
CREATE TABLE campaign_versions (
    campaign bigint NOT NULL REFERENCES campaigns (id),
    version integer NOT NULL CHECK (version > 0),
    state text NOT NULL,
    -- why Laurel itself did it
    state_reason text,
    rule_version integer NOT NULL CHECK (rule_version > 0),
    definition jsonb NOT NULL,
    made_by text NOT NULL,
    made_at timestamptz NOT NULL,
    -- why somebody did it, in their own words
    reason text,
    reason_salt bytea CHECK (length(reason_salt) = 16),
    PRIMARY KEY (campaign, version),
    CHECK (reason IS NULL OR reason_salt IS NOT NULL)
);
CREATE TRIGGER campaign_versions_delete BEFORE DELETE ON campaign_versions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Of campaigns that are there already, only what they are now is known, and who made the rule that is in force.
INSERT INTO campaign_versions (campaign, version, state, state_reason, rule_version, definition, made_by, made_at)
SELECT c.id, c.version, c.state, c.state_reason, c.rule_version,
       jsonb_build_object(
           'name', c.name, 'chain_id', v.chain_id, 'token', '0x' || encode(c.token, 'hex'), 'games', to_jsonb(c.games),
           'rule', r.rule, 'reward', r.reward,
           'caps', jsonb_strip_nulls(jsonb_build_object(
               'grants_per_player', r.grants_per_player, 'grants_per_player_per_day', r.grants_per_player_per_day,
               'amount_per_player', r.amount_per_player::text)),
           'starts_at', c.starts_at, 'ends_at', c.ends_at, 'wallet_deadline_hours', c.wallet_deadline_hours),
       r.created_by, r.created_at
FROM campaigns c
JOIN vaults v ON v.id = c.vault
JOIN campaign_rules r ON r.campaign = c.id AND r.version = c.rule_version;

ALTER TABLE campaigns DROP CONSTRAINT campaigns_state_check;
ALTER TABLE campaigns ADD CONSTRAINT campaigns_state_check
    CHECK (state IN ('draft', 'scheduled', 'active', 'paused', 'ended', 'deleted'));
-- Those that may begin with the next outcome.
CREATE INDEX campaigns_scheduled ON campaigns (starts_at) WHERE state = 'scheduled';

-- Those that are under way end by themselves as well, a day after their window.
INSERT INTO timers (kind, subject, due_at, data)
SELECT 'CampaignDue', format('%s/ends/%s', c.id, floor(extract(epoch FROM d.due) * 1000)::bigint), d.due,
       convert_to(format('{"at":"%s%sZ","campaign":"%s","moment":"ends"}',
                         to_char(d.due AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS'),
                         CASE WHEN d.micros = 0 THEN ''
                              WHEN d.micros % 1000 = 0 THEN to_char(d.due AT TIME ZONE 'UTC', '.MS')
                              ELSE to_char(d.due AT TIME ZONE 'UTC', '.US') END,
                         c.id), 'UTF8')
FROM campaigns c
CROSS JOIN LATERAL (SELECT c.ends_at + interval '24 hours' AS due,
                           extract(microseconds FROM c.ends_at)::bigint % 1000000 AS micros) d
WHERE c.state IN ('active', 'paused') AND c.ends_at IS NOT NULL
ON CONFLICT DO NOTHING;
