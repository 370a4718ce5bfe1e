//! What an answer to a transaction means, by whatever way it comes.

use std::time::Duration;

use alloy::{
    primitives::{Bytes, keccak256},
    sol_types::{Revert, SolError as _},
};
use laurel_chain::{ChainNode, HttpNode, NextStep, Refusal, SendError};
use rstest::rstest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const RAW: Bytes = Bytes::from_static(b"not looked at by anybody here");

/// A node that gives one answer, whatever it is asked, and then is gone.
async fn answering(answer: String) -> HttpNode {
    answering_at("", answer).await
}

/// The same, where the address goes on after the port.
async fn answering_at(path: &str, answer: String) -> HttpNode {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}{path}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut question = [0; 4096];
        assert!(stream.read(&mut question).await.unwrap() > 0);
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    HttpNode::new(&url).unwrap()
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[rstest]
#[case::json_rpc(
    "200 OK",
    r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32003,"message":"Nonce too high"}}"#,
    Refusal::NonceGap
)]
#[case::json_rpc_of_a_refused_status(
    "403 Forbidden",
    r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32600,"message":"Must be authenticated!"}}"#,
    Refusal::Endpoint
)]
#[case::a_bare_error(
    "429 Too Many Requests",
    r#"{"code":-32007,"message":"100/second request limit reached"}"#,
    Refusal::RateLimited
)]
#[case::too_often("429 Too Many Requests", "slow down", Refusal::RateLimited)]
#[case::a_used_up_plan("403 Forbidden", "Monthly capacity limit exceeded.", Refusal::RateLimited)]
#[case::a_wrong_key("401 Unauthorized", "invalid project id", Refusal::Endpoint)]
#[case::no_such_page("404 Not Found", "<html>", Refusal::Endpoint)]
#[tokio::test]
async fn a_node_that_says_why(#[case] status: &str, #[case] body: &str, #[case] refusal: Refusal) {
    let error = answering(http(status, body)).await.send(RAW).await.unwrap_err();
    assert_eq!(error.refusal(), Some(refusal), "{error:?}");
}

#[tokio::test]
async fn what_would_revert_says_with_what() {
    let data = Bytes::from(Revert::from("the vault sleeps").abi_encode());
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":0,"error":{{"code":3,"message":"execution reverted","data":"{data}"}}}}"#
    );
    let error = answering(http("200 OK", &body)).await.send(RAW).await.unwrap_err();
    let SendError::Refused { refusal: Refusal::WouldRevert, message, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(message, "execution reverted: the vault sleeps");
}

#[rstest]
#[case::nothing_at_all(String::new())]
#[case::no_json(http("200 OK", "<html>"))]
#[case::no_result(http("200 OK", r#"{"jsonrpc":"2.0","id":0,"result":null}"#))]
#[case::a_gateways_page(http("502 Bad Gateway", "<html>"))]
#[case::words_that_say_nothing(http(
    "200 OK",
    r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"internal error"}}"#
))]
#[case::another_transaction(http("200 OK", &format!(r#"{{"jsonrpc":"2.0","id":0,"result":"{}"}}"#, keccak256("other"))))]
#[tokio::test]
async fn whatever_else_comes_it_may_have_been_sent(#[case] answer: String) {
    let error = answering(answer).await.send(RAW).await.unwrap_err();
    assert!(matches!(error, SendError::PerhapsSent(_)), "{error:?}");
    assert_eq!(error.next(), NextStep::Confirm);
}

#[tokio::test]
async fn how_long_a_node_wants_to_be_left_alone_is_kept() {
    let error =
        answering(http("429 Too Many Requests\r\nretry-after: 120", "")).await.send(RAW).await.unwrap_err();
    assert_eq!(error.next(), NextStep::Later);
    let SendError::Refused { refusal: Refusal::RateLimited, rest, .. } = error else { panic!("{error:?}") };
    assert_eq!(rest, Some(Duration::from_secs(120)));
}

#[tokio::test]
async fn the_hash_of_what_was_sent_is_acceptance() {
    let body = format!(r#"{{"jsonrpc":"2.0","id":0,"result":"{}"}}"#, keccak256(&RAW));
    assert_eq!(answering(http("200 OK", &body)).await.send(RAW).await.unwrap(), keccak256(&RAW));
}

#[tokio::test]
async fn a_node_that_is_not_there_was_sent_nothing() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = HttpNode::new(&format!("http://{free}")).unwrap().send(RAW).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent(_)), "{error:?}");
    assert_eq!(error.next(), NextStep::Later);
}

#[rstest]
#[case::a_page("404 Not Found", "Cannot POST /v3/0123456789abcdef?token=fedcba9876543210")]
#[case::a_page_that_is_no_error("200 OK", "<html>/v3/0123456789abcdef?token=fedcba9876543210")]
#[case::a_busy_gateway(
    "503 Service Unavailable\r\nretry-after: 1",
    "/v3/0123456789abcdef?token=fedcba9876543210"
)]
#[case::an_error(
    "200 OK",
    r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32600,"message":"no project 0123456789abcdef, fedcba9876543210"}}"#
)]
#[tokio::test]
async fn a_key_that_the_server_repeats_is_not_shown(#[case] status: &str, #[case] body: &str) {
    let path = "/v3/0123456789abcdef?token=fedcba9876543210";
    let asked = answering_at(path, http(status, body)).await.chain_id().await.unwrap_err();
    let sent = answering_at(path, http(status, body)).await.send(RAW).await.unwrap_err();
    let told = format!("{asked:?} {asked} {sent:?} {sent}");
    assert!(!told.contains("0123456789abcdef") && !told.contains("fedcba9876543210"), "{told}");
    assert!(told.contains('…'), "{told}");
}
