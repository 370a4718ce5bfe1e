//! What a client costs that stays connected.

use std::fs;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    process::Running,
    rest::Rest,
    world::{World, free_port},
};

/// Connections before anything is measured: everything that is made once is made then.
const BEFORE: usize = 50;

/// Connections whose memory is measured: enough that the allocator's steps do not count.
const MEASURED: usize = 500;

/// What one may cost, with room for an unoptimised build.
const BYTES_MAX: u64 = 128 * 1024;

/// A connection that has asked for something and stays.
async fn connected(port: u16) -> TcpStream {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    connection.write_all(b"GET /v1/health-of-nothing HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = [0; 4096];
    let read = connection.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 404"), "{}", String::from_utf8_lossy(&answer[..read]));
    connection
}

/// The memory that a process has touched, in bytes.
fn resident(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn a_connection_costs_little() {
    let world = World::start().await;
    let port = free_port();
    let api = Running::start(world.laurel(port, &["api"]), &world.folder.path().join("api.log"));
    Rest::new(&format!("http://127.0.0.1:{port}")).register("anybody").await;
    let mut connections = Vec::new();
    for _ in 0..BEFORE {
        connections.push(connected(port).await);
    }
    let before = resident(api.id());
    for _ in 0..MEASURED {
        connections.push(connected(port).await);
    }
    let each = resident(api.id()).saturating_sub(before) / MEASURED as u64;
    assert!(each < BYTES_MAX, "{each} bytes for each of {MEASURED} connections");
    drop(connections);
    assert_eq!(api.terminate().await, Some(0));
}
