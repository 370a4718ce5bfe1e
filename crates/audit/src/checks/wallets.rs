//! Wallets, against what players proved: a grant that has no place yet goes to what stands here.

use alloy::primitives::Address;

use super::journal::add_broken;
use crate::{AuditError, error::inconsistent, finding::Code, snapshot::Snapshot};

/// Compares each with the last link in the journal, both ways.
pub(crate) async fn compare(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    if snapshot.only.is_some() {
        return Ok(());
    }
    name_broken(snapshot).await?;
    let rows = sqlx::query!(
        r#"
        -- In a chunk that was tampered with anything may stand: nothing here can fail for it. Its players are not compared; it is
        -- named instead.
        WITH lines AS MATERIALIZED (
            SELECT chunks.whole,
                   substring(line FROM '"player":"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"')::uuid AS player,
                   substring(line FROM '"chain_id":([0-9]{1,18})')::bigint AS chain_id,
                   substring(line FROM '"wallet":"0x([0-9a-f]{40})"') AS wallet,
                   substring(line FROM '"kind":"([a-z]+)"') AS kind,
                   substring(line FROM '"version":([0-9]{1,9})')::integer AS version
            FROM (SELECT digest = sha256(payload) AS whole, encode(payload, 'escape') AS text
                  FROM journal WHERE kind = 'WalletLinked') AS chunks,
                 string_to_table(chunks.text, E'\n') AS line
        ), links AS (
            SELECT DISTINCT ON (player, chain_id) * FROM lines ORDER BY player, chain_id, version DESC
        )
        SELECT coalesce(w.player, l.player) AS "player!", coalesce(w.chain_id, l.chain_id) AS "chain_id!",
               w.address AS "address?", w.kind AS "kind?", w.version AS "version?",
               '0x' || l.wallet AS "proved?", l.kind AS "proved_kind?", l.version AS "proved_version?"
        FROM (SELECT * FROM links WHERE player IS NOT NULL AND chain_id IS NOT NULL) l
        FULL JOIN wallets w ON w.player = l.player AND w.chain_id = l.chain_id
        WHERE (w.address IS DISTINCT FROM decode(l.wallet, 'hex') OR w.kind IS DISTINCT FROM l.kind
               OR coalesce(w.version, 0) <> coalesce(l.version, 0))
          AND coalesce(w.player, l.player) NOT IN (SELECT player FROM lines WHERE NOT whole AND player IS NOT NULL)
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

/// Names the chunks of links that do not hash to their digests, also those that were verified long ago: their players are not compared,
/// and nobody would know.
async fn name_broken(snapshot: &mut Snapshot<'_>) -> Result<(), AuditError> {
    let broken = sqlx::query!(
        r#"
        SELECT part, position FROM journal
        WHERE kind = 'WalletLinked' AND digest IS DISTINCT FROM sha256(payload)
        ORDER BY part, position
        "#,
    )
    .fetch_all(&mut *snapshot.conn)
    .await?;
    for chunk in broken {
        let about = format!("journal:{}/{}", chunk.part, chunk.position);
        add_broken(snapshot.findings, about, "WalletLinked");
    }
    Ok(())
}
