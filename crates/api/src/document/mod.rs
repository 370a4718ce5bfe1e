//! What the routes' parts of the OpenAPI document have in common, said once.
//!
//! ```text
//!   routes ──► parameters of a name ──► who may call ──► how answers look ──► where their ids lead ──► document
//! ```

mod answers;
mod links;
mod parameters;

use utoipa::openapi::{
    OpenApi, RefOr, Required,
    path::{Operation, PathItem},
    security::SecurityRequirement,
};

use crate::{MATRIX, Who, class_of};

/// The operations whose body may be left out.
const BODY_OPTIONAL: [&str; 7] = [
    "schedule_campaign",
    "unschedule_campaign",
    "activate_campaign",
    "pause_campaign",
    "resume_campaign",
    "end_campaign",
    "close_campaign",
];

/// Says of every route what all routes have in common.
pub(crate) fn complete(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            let id = operation.operation_id.clone().unwrap_or_default();
            for parameter in operation.parameters.iter_mut().flatten() {
                if let RefOr::T(parameter) = parameter {
                    parameters::describe(&id, parameter);
                }
            }
            if BODY_OPTIONAL.contains(&id.as_str())
                && let Some(RefOr::T(body)) = &mut operation.request_body
            {
                body.required = Some(Required::False);
            }
            demand_roles(method, path, operation);
            answers::describe(&id, class_of(method, path).is_some(), operation);
        }
    }
    links::add(document);
}

/// The operations of a path, by their methods.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let PathItem { get, put, post, patch, delete, .. } = item;
    let operations = [("GET", get), ("PUT", put), ("POST", post), ("PATCH", patch), ("DELETE", delete)];
    operations.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Names the roles that may call a route, as the table of rights has them.
fn demand_roles(method: &str, path: &str, operation: &mut Operation) {
    let right = MATRIX.iter().find(|right| right.method == method && right.path == path);
    if let Some(who) = right.map(|right| right.who).filter(|who| *who != Who::Everybody) {
        let roles = who.roles().map(|role| role.to_string());
        operation.security = Some(vec![SecurityRequirement::new("token", roles)]);
    }
}
