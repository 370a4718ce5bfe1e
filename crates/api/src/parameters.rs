//! The parameters of queries, as the OpenAPI document declares them: a request that asks for anything else is refused, so that nobody is
//! given less, or more, than they believe to have asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use utoipa::openapi::{
    RefOr,
    path::{Operation, ParameterIn},
};

use crate::{Problem, routes::openapi};

/// By the operation's id.
static DECLARED: LazyLock<BTreeMap<String, BTreeSet<String>>> = LazyLock::new(|| {
    let operations = openapi()
        .paths
        .paths
        .into_values()
        .flat_map(|path| [path.get, path.put, path.post, path.delete, path.patch].into_iter().flatten());
    operations.filter_map(|operation| Some((operation.operation_id.clone()?, of_query(operation)))).collect()
});

fn of_query(operation: Operation) -> BTreeSet<String> {
    let parameters = operation.parameters.unwrap_or_default().into_iter();
    let of_query = parameters.filter_map(|parameter| match parameter {
        RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => Some(parameter.name),
        _ => None,
    });
    of_query.collect()
}

/// What a query asks for.
///
/// # Errors
/// 400 if it holds a parameter that the operation does not have.
pub(crate) fn asked_for(operation: &str, query: Option<&str>) -> Result<BTreeMap<String, String>, Problem> {
    let asked: BTreeMap<String, String> =
        url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let declared = DECLARED.get(operation);
    match asked.keys().find(|name| declared.is_none_or(|declared| !declared.contains(*name))) {
        None => Ok(asked),
        Some(name) => {
            let detail = format!("there is no parameter {name:?}; see /openapi.json");
            Err(Problem::bad_request("invalid_query", detail).of_parameter(name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MATRIX;

    #[test]
    fn every_route_knows_its_parameters_and_no_other() {
        for right in MATRIX {
            assert!(DECLARED.contains_key(right.operation), "{}", right.operation);
            assert!(asked_for(right.operation, Some("wallets=7")).is_err(), "{}", right.operation);
            assert_eq!(asked_for(right.operation, None).unwrap(), BTreeMap::new());
        }
        let asked = asked_for("list_grants", Some("player%5Fid=z&wallet=0x1")).unwrap();
        assert_eq!(asked, [("player_id", "z"), ("wallet", "0x1")].map(|(n, v)| (n.into(), v.into())).into());
    }
}
