//! `GET /docs`: the OpenAPI document as a page for people. It needs no script and loads nothing.

use std::fmt::Write;

use axum::http::{HeaderName, HeaderValue, header::CONTENT_SECURITY_POLICY};
use serde_json::Value;
use utoipa::openapi::OpenApi;

/// The page may do nothing but look like something.
pub(crate) const POLICY: (HeaderName, HeaderValue) = (
    CONTENT_SECURITY_POLICY,
    HeaderValue::from_static(
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
);

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Laurel</title>\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
code{font:14px ui-monospace,monospace}b.m{display:inline-block;min-width:4rem}details{margin:.4rem 0}\
summary{cursor:pointer}table{border-collapse:collapse;margin:.5rem 0}td{padding:.1rem 1rem .1rem 0;vertical-align:top}\
pre{background:#f5f5f5;padding:.5rem;overflow:auto}</style></head><body>";

/// The page: each route with its parameters, bodies and answers, then each schema.
pub(crate) fn page(document: &OpenApi) -> String {
    // The document is made of strings and numbers; were it not, the page would say so by being empty.
    let document = serde_json::to_value(document).unwrap_or_default();
    let mut html = String::from(HEAD);
    push(&mut html, "h1", text(&document["info"]["title"]));
    push(&mut html, "p", text(&document["info"]["description"]));
    html.push_str("<p>The document itself: <a href=\"/openapi.json\">/openapi.json</a></p><h2>Routes</h2>");
    for (path, item) in entries(&document["paths"]) {
        for (method, operation) in entries(item) {
            route(&mut html, path, method, operation);
        }
    }
    html.push_str("<h2>Schemas</h2>");
    for (name, schema) in entries(&document["components"]["schemas"]) {
        let shape = serde_json::to_string_pretty(schema).unwrap_or_default();
        let (name, shape) = (escape(name), escape(&shape));
        let _ = write!(
            html,
            "<details id=\"{name}\"><summary><code>{name}</code></summary><pre>{shape}</pre></details>"
        );
    }
    html.push_str("</body></html>");
    html
}

fn route(html: &mut String, path: &str, method: &str, operation: &Value) {
    let (verb, path, summary) =
        (escape(&method.to_uppercase()), escape(path), escape(text(&operation["summary"])));
    let _ =
        write!(html, "<details><summary><b class=\"m\">{verb}</b> <code>{path}</code> {summary}</summary>");
    push(html, "p", text(&operation["description"]));
    html.push_str("<table>");
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let place = format!("{} ({})", text(&parameter["name"]), text(&parameter["in"]));
        row(html, &place, text(&parameter["description"]), None);
    }
    row(html, "body", "", reference(&operation["requestBody"]));
    for (status, answer) in entries(&operation["responses"]) {
        row(html, status, text(&answer["description"]), reference(answer));
    }
    html.push_str("</table>");
    example(html, &operation["requestBody"]["content"]["application/json"]["example"]);
    html.push_str("</details>");
}

/// A body that the route takes.
fn example(html: &mut String, body: &Value) {
    if !body.is_null() {
        push(html, "pre", &serde_json::to_string_pretty(body).unwrap_or_default());
    }
}

fn row(html: &mut String, what: &str, description: &str, schema: Option<&str>) {
    if what == "body" && schema.is_none() {
        return;
    }
    let link = schema.map(escape).map(|name| format!("<a href=\"#{name}\">{name}</a>")).unwrap_or_default();
    let _ = write!(
        html,
        "<tr><td><code>{}</code></td><td>{}</td><td>{link}</td></tr>",
        escape(what),
        escape(description)
    );
}

/// The name of the schema that a body refers to.
fn reference(body: &Value) -> Option<&str> {
    let (_, content) = entries(&body["content"]).next()?;
    content["schema"]["$ref"].as_str()?.strip_prefix("#/components/schemas/")
}

fn push(html: &mut String, tag: &str, content: &str) {
    if !content.is_empty() {
        let _ = write!(html, "<{tag}>{}</{tag}>", escape(content));
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
