//! Stops of payouts, and those of a quarantine.

use laurel_events::Event;
use laurel_ledger::{
    Stop, Written, begin_quarantine, end_quarantine, in_quarantine, list_stops, lock_quarantine, pin_vault,
    resume_payouts, stop_payouts,
};
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::world::{database, identity, now};

/// A transaction that does not wait for locks.
async fn impatient(pool: &PgPool) -> Transaction<'static, Postgres> {
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("SET LOCAL lock_timeout = '100ms'").execute(&mut *tx).await.unwrap();
    tx
}

/// Whoever leaves something to the recovery has committed before it ends.
#[tokio::test]
async fn a_quarantine_does_not_end_while_somebody_relies_on_it() {
    let database = database().await;
    let mut tx = database.pool().begin().await.unwrap();
    begin_quarantine(&mut tx, now(), Uuid::from_u128(1), "restored").await.unwrap();
    tx.commit().await.unwrap();
    let mut relying = database.pool().begin().await.unwrap();
    assert!(in_quarantine(&mut relying).await.unwrap());
    lock_quarantine(&mut *impatient(database.pool()).await).await.unwrap_err();
    relying.rollback().await.unwrap();
    assert!(lock_quarantine(&mut *impatient(database.pool()).await).await.unwrap().is_some());
}

/// It would be taken back with the quarantine's own.
#[tokio::test]
async fn nobody_stops_payouts_while_a_quarantine_ends() {
    let database = database().await;
    let mut tx = database.pool().begin().await.unwrap();
    let vault = pin_vault(&mut tx, &identity()).await.unwrap();
    let lane = "INSERT INTO lanes (vault, address, state, next_nonce) VALUES ($1, decode(repeat('11', 20), 'hex'), 'active', 0)";
    sqlx::query(lane).bind(vault.id.0).execute(&mut *tx).await.unwrap();
    begin_quarantine(&mut tx, now(), Uuid::from_u128(1), "restored").await.unwrap();
    tx.commit().await.unwrap();
    let mut ending = database.pool().begin().await.unwrap();
    lock_quarantine(&mut ending).await.unwrap();
    stop_payouts(&mut *impatient(database.pool()).await, now(), Stop::All, "by hand", "ann")
        .await
        .unwrap_err();
    end_quarantine(&mut ending, now(), Uuid::from_u128(1), true).await.unwrap();
    ending.commit().await.unwrap();
    let mut tx = impatient(database.pool()).await;
    assert_eq!(list_stops(&mut tx).await.unwrap(), []);
    let (written, _) = stop_payouts(&mut tx, now(), Stop::All, "by hand", "ann").await.unwrap();
    assert_eq!(written, Written::Created);
}

/// Somebody stops payouts while a quarantine has stopped them anyway: theirs stays when that is over, also if nothing was amiss.
#[tokio::test]
async fn a_stop_in_quarantine_outlives_it() {
    let database = database().await;
    let mut tx = database.pool().begin().await.unwrap();
    let epoch = Uuid::from_u128(1);
    begin_quarantine(&mut tx, now(), epoch, "restored").await.unwrap();
    // In that very word.
    let (written, events) = stop_payouts(&mut tx, now(), Stop::All, "quarantine", "ann").await.unwrap();
    assert_eq!(written, Written::Created);
    let told: Vec<String> = events
        .into_iter()
        .map(|event| match event {
            Event::OperatorAlertCleared(_) => "cleared".to_owned(),
            Event::OperatorAlertRaised(raised) => raised.detail,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, ["cleared", "quarantine, by ann"]);
    begin_quarantine(&mut tx, now(), Uuid::from_u128(2), "again").await.unwrap();
    let (again, _) = stop_payouts(&mut tx, now(), Stop::All, "the same", "bob").await.unwrap();
    assert_eq!(again, Written::Exists, "the first one stays");
    end_quarantine(&mut tx, now(), epoch, true).await.unwrap();
    assert!(!in_quarantine(&mut tx).await.unwrap());
    let stops = list_stops(&mut tx).await.unwrap();
    assert_eq!(
        stops.iter().map(|stop| (&*stop.about, &*stop.reason)).collect::<Vec<_>>(),
        [("all", "quarantine")]
    );
    assert!(resume_payouts(&mut tx, Stop::All).await.unwrap().is_some());
}

/// And where nobody did, payouts go on with its end.
#[tokio::test]
async fn a_quarantines_own_stop_ends_with_it() {
    let database = database().await;
    let mut tx = database.pool().begin().await.unwrap();
    let epoch = Uuid::from_u128(1);
    begin_quarantine(&mut tx, now(), epoch, "restored").await.unwrap();
    end_quarantine(&mut tx, now(), epoch, true).await.unwrap();
    assert_eq!(list_stops(&mut tx).await.unwrap(), []);
}
