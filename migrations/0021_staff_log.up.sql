-- The audit log: what people who work here did, and what they read of players. The journal has an event of each, with the hash of
-- salt and content: who it was, from where and what was before and after is free text, and can be erased.
CREATE TABLE staff_log (
    id uuid PRIMARY KEY,
    -- none where it was done for all organisations
    org integer REFERENCES organisations (id),
    at timestamptz NOT NULL,
    -- who, as tokens name them
    subject text NOT NULL,
    action text NOT NULL CHECK (action <> ''),
    -- such as campaign:7
    about text NOT NULL CHECK (about <> ''),
    is_read boolean NOT NULL,
    salt bytea CHECK (length(salt) = 16),
    -- canonical JSON (RFC 8785)
    content bytea,
    part smallint NOT NULL,
    position bigint NOT NULL,
    idx integer NOT NULL,
    CHECK ((salt IS NULL) = (content IS NULL))
);
CREATE INDEX staff_log_org ON staff_log (org, id);
CREATE INDEX staff_log_about ON staff_log (about, id);
CREATE INDEX staff_log_subject ON staff_log (subject, id);

-- Nothing is changed in it but that a content is erased.
CREATE FUNCTION keep_staff_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.content IS NULL
        AND (NEW.id, NEW.org, NEW.at, NEW.action, NEW.about, NEW.is_read, NEW.part, NEW.position, NEW.idx)
            IS NOT DISTINCT FROM (OLD.id, OLD.org, OLD.at, OLD.action, OLD.about, OLD.is_read, OLD.part, OLD.position, OLD.idx)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'what the audit log holds stays' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER staff_log_change BEFORE UPDATE OR DELETE ON staff_log FOR EACH ROW EXECUTE FUNCTION keep_staff_log();
CREATE TRIGGER staff_log_truncate BEFORE TRUNCATE ON staff_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- When all that told who a player is was erased.
ALTER TABLE players ADD COLUMN erased_at timestamptz;
