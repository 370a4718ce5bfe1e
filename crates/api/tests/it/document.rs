//! The OpenAPI document and the page made of it.

use laurel_api::{Role, openapi};

use crate::world::World;

/// Method, path, operation id, parameters and answers of every route.
fn outline(document: &serde_json::Value) -> String {
    let mut lines = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters: Vec<String> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|parameter| {
                    let optional = if parameter["required"] == true { "" } else { "?" };
                    format!("{}{optional}", parameter["name"].as_str().unwrap())
                })
                .collect();
            let answers: Vec<&String> = operation["responses"].as_object().unwrap().keys().collect();
            lines.push(format!(
                "{} {path} {} {parameters:?} {answers:?}",
                method.to_uppercase(),
                operation["operationId"].as_str().unwrap()
            ));
        }
    }
    lines.join("\n")
}

#[test]
fn routes_and_methods_stay() {
    let document = serde_json::to_value(openapi()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    insta::assert_snapshot!(outline(&document));
}

#[test]
fn every_operation_is_told_apart_and_explained() {
    let document = serde_json::to_value(openapi()).unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(ids.insert(operation["operationId"].to_string()), "{method} {path}");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path}");
            let named = path.matches('{').count();
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            assert_eq!(parameters.filter(|parameter| parameter["in"] == "path").count(), named, "{path}");
        }
    }
}

/// The document has one schema of a name, whichever of two types came last.
#[test]
fn no_two_types_share_a_name_in_the_document() {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let mut folders = vec![std::path::PathBuf::from(sources)];
    let mut names = std::collections::BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            for shape in source.split("ToSchema)]\n").skip(1) {
                let named = shape.lines().take(6).find_map(|line| {
                    line.strip_prefix("#[schema(as = ")?.split([',', ')']).next().map(str::to_owned)
                });
                let declared = |line: &'_ str| {
                    let (_, rest) = line.split_once("struct ").or_else(|| line.split_once("enum "))?;
                    Some(rest.to_owned())
                };
                let declared = shape.lines().find_map(declared).unwrap();
                let declared = declared.split(|c: char| !c.is_alphanumeric()).next().unwrap();
                let name = named.unwrap_or_else(|| declared.to_owned());
                let before = names.insert(name.clone(), path.clone());
                assert_eq!(before, None, "{name} is also in {}", path.display());
            }
        }
    }
    assert!(names.len() > 50, "{names:?}");
}

#[tokio::test]
async fn the_document_is_served_to_everybody() {
    let world = World::new().await;
    let document = serde_json::to_value(openapi()).unwrap();
    for line in ["GET /openapi.json", "GET /v1/openapi.json"] {
        assert_eq!(world.anonymous(line).send().await.ok(), document);
    }
}

/// Whatever the document says exists is found by the router: a route that is missing would be 404 or 405.
#[tokio::test]
async fn every_route_of_the_document_is_served() {
    let world = World::new().await;
    let document = serde_json::to_value(openapi()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let line = format!("{} {}", method.to_uppercase(), path.replace(['{', '}'], ""));
            let status = world.anonymous(&line).send().await.status.as_u16();
            assert!(![404, 405].contains(&status), "{line}: {status}");
        }
    }
}

#[tokio::test]
async fn the_page_lists_every_route_and_loads_nothing() {
    let world = World::new().await;
    let document = serde_json::to_value(openapi()).unwrap();
    for line in ["GET /docs", "GET /v1/docs"] {
        let answer = world.call(Role::Player, line).send().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(answer.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
        let page = String::from_utf8(answer.bytes).unwrap();
        for (path, item) in document["paths"].as_object().unwrap() {
            assert!(page.contains(&format!("<code>{path}</code>")), "{path}");
            for operation in item.as_object().unwrap().values() {
                let summary = operation["summary"].as_str().unwrap();
                assert!(page.contains(summary), "{summary}");
            }
        }
        for schema in document["components"]["schemas"].as_object().unwrap().keys() {
            assert!(page.contains(&format!("<details id=\"{schema}\">")), "{schema}");
        }
        for loading in ["<script", "<img", "<link", "src=", "http://", "https://", "@import", "url("] {
            assert!(!page.contains(loading), "{loading}");
        }
    }
}
