//! Coming in: with a password, a wallet or an API key; and going again.

mod api_keys;
mod password;
mod refresh;
pub(crate) mod totp;
mod wallet;

use laurel_api::{Password, Role, add_staff};
use laurel_events::Clock;
use laurel_ledger::find_organisation;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::{call::Call, world::World};

const PASSWORD: &str = "correct horse battery";

/// Adds somebody to the organisation `default`.
pub(crate) async fn hire(world: &World, name: &str, role: Role) {
    // Of its own for everybody: ids are made of it.
    let mut rng = StdRng::seed_from_u64(name.bytes().map(u64::from).sum());
    let hash = Password::choose(PASSWORD.to_owned()).unwrap().hash(&mut rng).await.unwrap();
    let mut conn = world.pool().acquire().await.unwrap();
    let org = find_organisation(&mut conn, "default").await.unwrap().unwrap();
    add_staff(&mut conn, world.clock.now(), &mut rng, org, name, role, &hash).await.unwrap();
}

fn sign_in<'w>(world: &'w World, name: &str, password: &str) -> Call<'w> {
    world.anonymous("POST /v1/auth/token").json(&json!({ "name": name, "password": password }))
}

fn refresh<'w>(world: &'w World, tokens: &Value) -> Call<'w> {
    let body = json!({ "refresh_token": tokens["refresh_token"] });
    world.anonymous("POST /v1/auth/refresh").json(&body)
}

/// A request with the access token among `tokens`.
fn with<'w>(world: &'w World, tokens: &Value, line: &str) -> Call<'w> {
    let value = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    world.anonymous(line).header("authorization", &value)
}

/// Ada, a manager, who has signed in.
async fn ada(world: &World) -> Value {
    hire(world, "ada", Role::Manager).await;
    sign_in(world, "ada", PASSWORD).send().await.ok()
}

/// Nothing that the database holds contains `secret`.
async fn nowhere_in_the_database(world: &World, secret: &str) {
    let tables: Vec<String> = world.contents().await.into_keys().collect();
    for table in tables {
        let rows = format!("SELECT count(*) FROM {table} t WHERE position($1 IN t::text) > 0");
        let found: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).bind(secret).fetch_one(world.pool()).await.unwrap();
        assert_eq!(found, 0, "{table} holds a secret");
    }
}
