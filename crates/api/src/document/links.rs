//! Where the ids of answers lead: to every route that takes them.

use std::collections::BTreeMap;

use utoipa::openapi::{
    OpenApi, RefOr,
    link::{Link, LinkBuilder},
    path::ParameterIn,
};

use super::operations;

/// An answer that holds what other routes take: the operation, its status, where the value stands, and the parameter that takes it.
const SOURCES: [(&str, &str, &str, &str); 15] = [
    ("post_campaign", "201", "$response.body#/id", "campaign_id"),
    ("clone_campaign", "201", "$response.body#/id", "campaign_id"),
    ("list_campaigns", "200", "$response.body#/items/0/id", "campaign_id"),
    ("put_player", "200", "$response.body#/player_id", "player_id"),
    ("put_player", "201", "$response.body#/player_id", "player_id"),
    ("post_outcomes", "202", "$response.body#/results/0/outcome_id", "outcome_id"),
    ("list_grants", "200", "$response.body#/items/0/id", "grant_id"),
    ("list_campaign_grants", "200", "$response.body#/items/0/id", "grant_id"),
    ("list_player_grants", "200", "$response.body#/items/0/id", "grant_id"),
    ("get_outcome", "200", "$response.body#/grants/0", "grant_id"),
    ("list_transactions", "200", "$response.body#/items/0/tx", "hash"),
    ("get_grant", "200", "$response.body#/tx", "hash"),
    ("post_api_key", "201", "$response.body#/id", "key_id"),
    ("list_api_keys", "200", "$response.body#/items/0/id", "key_id"),
    ("list_dead_letters", "200", "$response.body#/items/0/id", "letter_id"),
];

/// What a campaign has only once it is closing: no answer that names a campaign leads to it but that of closing it.
const CLOSING: (&str, &str) = ("close_campaign", "get_campaign_closing");

/// Links what answers hold with the routes that take it, and each page with the next one.
pub(super) fn add(document: &mut OpenApi) {
    let takers = takers(document);
    for (_, operation) in document.paths.paths.values_mut().flat_map(operations) {
        let id = operation.operation_id.clone().unwrap_or_default();
        let mut links: Vec<(&str, String, Link)> = Vec::new();
        for (_, status, value, parameter) in SOURCES.iter().filter(|(source, ..)| *source == id) {
            for taker in takers
                .get(*parameter)
                .into_iter()
                .flatten()
                .filter(|taker| **taker != id && *taker != CLOSING.1)
            {
                links.push((status, taker.clone(), link(taker, parameter, value)));
            }
        }
        if id == CLOSING.0 {
            let closing = link(CLOSING.1, "campaign_id", "$request.path.campaign_id");
            links.push(("202", CLOSING.1.to_owned(), closing));
        }
        if takers.get("cursor").is_some_and(|takers| takers.contains(&id)) {
            links.push(("200", "next_page".to_owned(), link(&id, "cursor", "$response.body#/next")));
        }
        for (status, name, link) in links {
            if let Some(RefOr::T(answer)) = operation.responses.responses.get_mut(status) {
                answer.links.insert(name, RefOr::T(link));
            }
        }
    }
}

fn link(taker: &str, parameter: &str, value: &str) -> Link {
    LinkBuilder::new().operation_id(taker).parameter(parameter, value).build()
}

/// The operations that take a parameter in their path, or a cursor, by its name.
fn takers(document: &mut OpenApi) -> BTreeMap<String, Vec<String>> {
    let mut takers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, operation) in document.paths.paths.values_mut().flat_map(operations) {
        let id = operation.operation_id.clone().unwrap_or_default();
        for parameter in operation.parameters.iter().flatten() {
            if let RefOr::T(parameter) = parameter
                && (parameter.parameter_in == ParameterIn::Path || parameter.name == "cursor")
            {
                takers.entry(parameter.name.clone()).or_default().push(id.clone());
            }
        }
    }
    takers
}
