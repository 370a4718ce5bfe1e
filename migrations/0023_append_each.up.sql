-- What several requests report is appended by one transaction, each with its own request and trace.
DROP FUNCTION append_journal(smallint[], text[], smallint[], integer[], timestamptz, text, text, bytea[], bytea[]);
CREATE FUNCTION append_journal(
    parts smallint[], kinds text[], versions smallint[], entry_counts integer[], recorded timestamptz[],
    requests text[], trace_contexts text[], payloads bytea[], digests bytea[]
) RETURNS TABLE (chunk integer, at bigint) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM heads WHERE part = ANY (parts) ORDER BY part FOR NO KEY UPDATE;
    RETURN QUERY
    WITH placed AS (
        SELECT c.*, h.next + row_number() OVER (PARTITION BY c.part ORDER BY c.ord) - 1 AS position
        FROM unnest(parts, kinds, versions, entry_counts, recorded, requests, trace_contexts, payloads, digests)
                 WITH ORDINALITY AS c (part, kind, version, entries, recorded_at, request_id, trace, payload, digest, ord)
        JOIN heads h ON h.part = c.part
    ), inserted AS (
        INSERT INTO journal (part, position, kind, version, entries, recorded_at, request_id, trace, payload, digest)
        SELECT p.part, p.position, p.kind, p.version, p.entries, p.recorded_at, p.request_id, p.trace, p.payload, p.digest
        FROM placed p
    ), moved AS (
        UPDATE heads h SET next = n.next
        FROM (SELECT p.part, max(p.position) + 1 AS next FROM placed p GROUP BY p.part) n
        WHERE h.part = n.part
    )
    SELECT p.ord::integer, p.position FROM placed p ORDER BY p.ord;
END
$$;
