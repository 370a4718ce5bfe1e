-- A player may be called like somebody who works here: what is kept of either is told apart by what they are. Rows of before do not say.
ALTER TABLE idempotency_keys ADD COLUMN role text NOT NULL DEFAULT '';
ALTER TABLE idempotency_keys ALTER COLUMN role DROP DEFAULT, DROP CONSTRAINT idempotency_keys_pkey;
ALTER TABLE idempotency_keys ADD PRIMARY KEY (org, subject, role, key);
ALTER TABLE exports ADD COLUMN role text NOT NULL DEFAULT '';
ALTER TABLE exports ALTER COLUMN role DROP DEFAULT;

-- What is erased of the audit log's contents is erased once, and with it who it was.
CREATE OR REPLACE FUNCTION keep_staff_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.content IS NOT NULL AND NEW.content IS NULL AND NEW.subject = ''
        AND (NEW.id, NEW.org, NEW.at, NEW.action, NEW.about, NEW.is_read, NEW.part, NEW.position, NEW.idx)
            IS NOT DISTINCT FROM (OLD.id, OLD.org, OLD.at, OLD.action, OLD.about, OLD.is_read, OLD.part, OLD.position, OLD.idx)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'what the audit log holds stays' USING ERRCODE = 'restrict_violation';
END
$$;
-- What was done, by what it was, without all that was read; and which rows an event of the journal has.
CREATE INDEX staff_log_action ON staff_log (org, action, id);
CREATE INDEX staff_log_acted ON staff_log (org, id) WHERE NOT is_read;
CREATE UNIQUE INDEX staff_log_event ON staff_log (part, position, idx);
