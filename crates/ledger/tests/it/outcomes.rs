//! Outcomes are recorded once.

use laurel_events::{EventId, OrgId, OutcomeKey, Partition};
use laurel_ledger::{LedgerError, Place, RecordedOutcome, find_outcome, find_outcomes, insert_outcomes};

use crate::world::database;

fn outcome(name: &str, digest: u8) -> RecordedOutcome {
    let partition = Partition::new(3).unwrap();
    RecordedOutcome {
        key: OutcomeKey::derive(OrgId(1), "server", name),
        digest: [digest; 32],
        place: Place(EventId { partition, offset: 4, index: 5 }),
    }
}

#[tokio::test]
async fn an_outcome_is_found_with_its_content_and_place() {
    let database = database().await;
    let mut conn = database.pool().acquire().await.unwrap();
    let (one, two) = (outcome("one", 1), outcome("two", 2));
    insert_outcomes(&mut conn, OrgId(1), &[one, two]).await.unwrap();
    assert_eq!(find_outcome(&mut conn, one.key).await.unwrap(), Some(one));
    let absent = outcome("absent", 0).key;
    assert_eq!(find_outcome(&mut conn, absent).await.unwrap(), None);
    let known = find_outcomes(&mut conn, &[two.key, absent]).await.unwrap();
    assert_eq!(known.into_iter().collect::<Vec<_>>(), [(two.key, two.digest)]);
}

#[tokio::test]
async fn a_second_copy_is_refused_by_the_database() {
    let database = database().await;
    let mut conn = database.pool().acquire().await.unwrap();
    insert_outcomes(&mut conn, OrgId(1), &[outcome("one", 1)]).await.unwrap();
    match insert_outcomes(&mut conn, OrgId(1), &[outcome("one", 2)]).await {
        Err(LedgerError::Database(sqlx::Error::Database(error))) => assert!(error.is_unique_violation()),
        other => panic!("{other:?}"),
    }
}
