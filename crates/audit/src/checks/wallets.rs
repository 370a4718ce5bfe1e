//! Wallets, against what players proved: a grant that has no place yet goes to what stands here.

use alloy::primitives::Address;

use crate::{AuditError, error::inconsistent, finding::Code, snapshot::Snapshot};

/// Compares each with the last link in the journal, both ways. A chunk that does not hash to its digest is named elsewhere.
pub(crate) async fn compare(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    if snapshot.only.is_some() {
        return Ok(());
    }
    let rows = sqlx::query!(
        r#"
        WITH links AS (
            SELECT DISTINCT ON (player, chain_id) link.*
            FROM (SELECT CASE WHEN digest = sha256(payload) THEN convert_from(payload, 'UTF8') END AS lines
                  FROM journal WHERE kind = 'WalletLinked') AS chunks,
                 string_to_table(rtrim(chunks.lines, E'\n'), E'\n') AS line,
                 jsonb_to_record(line::jsonb -> 'data')
                     AS link (player uuid, chain_id bigint, wallet text, kind text, version integer)
            ORDER BY player, chain_id, version DESC
        )
        SELECT coalesce(w.player, l.player) AS "player!", coalesce(w.chain_id, l.chain_id) AS "chain_id!",
               w.address AS "address?", w.kind AS "kind?", w.version AS "version?",
               l.wallet AS "proved?", l.kind AS "proved_kind?", l.version AS "proved_version?"
        FROM links l FULL JOIN wallets w ON w.player = l.player AND w.chain_id = l.chain_id
        WHERE w.address IS DISTINCT FROM decode(substr(l.wallet, 3), 'hex') OR w.kind IS DISTINCT FROM l.kind
           OR coalesce(w.version, 0) <> coalesce(l.version, 0)
        ORDER BY 1, 2
        "#,
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    for row in rows {
        let address = match row.address {
            Some(bytes) => Address::try_from(bytes.as_slice())
                .map_err(|_| inconsistent("wallets", "address", row.player))?
                .to_string(),
            None => "none".to_owned(),
        };
        let detail = format!(
            "on chain {} it is {address} ({}, link {}); the last one that was proved is {} ({}, link {})",
            row.chain_id,
            row.kind.as_deref().unwrap_or("no kind"),
            row.version.unwrap_or(0),
            row.proved.as_deref().unwrap_or("none"),
            row.proved_kind.as_deref().unwrap_or("no kind"),
            row.proved_version.unwrap_or(0),
        );
        snapshot.findings.add(Code::WalletDiffers, format!("player:{}", row.player), None, detail);
    }
    Ok(())
}
