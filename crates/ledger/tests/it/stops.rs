//! Stops of payouts, and those of a quarantine.

use laurel_events::Event;
use laurel_ledger::{
    Stop, Written, begin_quarantine, end_quarantine, in_quarantine, list_stops, resume_payouts, stop_payouts,
};
use uuid::Uuid;

use crate::world::{database, now};

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
