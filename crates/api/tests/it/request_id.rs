//! `x-request-id` is accepted or made, and echoed.

use laurel_api::Role;
use rstest::rstest;

use crate::world::World;

#[tokio::test]
async fn a_good_id_is_echoed_by_every_kind_of_answer() {
    let world = World::new().await;
    for line in ["GET /v1/campaigns", "GET /v1/campaigns/7", "GET /nothing", "DELETE /v1/campaigns"] {
        let answer = world.call(Role::Manager, line).header("x-request-id", "a-b_C.1").send().await;
        assert_eq!(answer.header("x-request-id"), Some("a-b_C.1"), "{line}");
    }
    let longest = "i".repeat(128);
    let answer = world.call(Role::Manager, "GET /docs").header("x-request-id", &longest).send().await;
    assert_eq!(answer.header("x-request-id"), Some(longest.as_str()));
}

#[rstest]
#[case::none(None)]
#[case::empty(Some(String::new()))]
#[case::too_long(Some("i".repeat(129)))]
#[case::blanks(Some("a b".to_owned()))]
#[case::tab(Some("a\tb".to_owned()))]
#[case::no_ascii(Some("é".to_owned()))]
#[tokio::test]
async fn another_one_is_replaced(#[case] given: Option<String>) {
    let world = World::new().await;
    let mut made = Vec::new();
    for _ in 0..2 {
        let request = world.call(Role::Manager, "GET /v1/campaigns");
        let request = match &given {
            Some(given) => request.header("x-request-id", given),
            None => request,
        };
        let answer = request.send().await;
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert_eq!(uuid::Uuid::try_parse(&id).unwrap().get_version_num(), 7);
        made.push(id);
    }
    assert_ne!(made[0], made[1]);
}
