//! How answers look: their headers, and problems as RFC 9457 has them.

use utoipa::openapi::{
    Header, ObjectBuilder, RefOr, Response, Type,
    path::{Operation, ParameterIn},
};

/// The media type of problems.
const PROBLEM: &str = "application/problem+json";

/// Says how an operation's answers look. `limited` are those that a caller may ask for only so often.
pub(super) fn describe(id: &str, limited: bool, operation: &mut Operation) {
    let keyed = operation.parameters.iter().flatten().any(|parameter| {
        matches!(parameter, RefOr::T(parameter)
            if parameter.parameter_in == ParameterIn::Header && parameter.name == "idempotency-key")
    });
    let answers = &mut operation.responses.responses;
    // Whatever asks the database or a chain may find it away; a problem looks the same everywhere.
    if let Some(problem) = answers.get("4XX").cloned() {
        answers.entry("503".to_owned()).or_insert_with(|| problem.clone());
        if limited {
            answers.entry("429".to_owned()).or_insert(problem);
        }
    }
    for (status, answer) in answers {
        let RefOr::T(answer) = answer else { continue };
        if answer.description.is_empty() {
            answer.description = meaning(status).to_owned();
        }
        header(
            answer,
            "x-request-id",
            "The id of the request, as it is logged: the caller's own, or a new one",
        );
        if limited {
            header(
                answer,
                "ratelimit-policy",
                "How much there is of what in which time: `\"read\";q=30000;w=60`",
            );
            header(
                answer,
                "ratelimit",
                "How much there still is, and when there is all of it: `\"read\";r=29999;t=1`",
            );
        }
        match status.as_str() {
            "4XX" | "429" | "503" => {
                if let Some(problem) = answer.content.swap_remove("application/json") {
                    answer.content.insert(PROBLEM.to_owned(), problem);
                }
                if status == "4XX" {
                    header(answer, "www-authenticate", "With 401: how to say who you are (RFC 6750)");
                    header(answer, "allow", "With 405: the methods that the route knows");
                } else {
                    header(answer, "retry-after", "In how many seconds to try again");
                }
            }
            _ => {
                if keyed {
                    header(answer, "idempotency-replayed", "true where the same request was answered before");
                }
                if is_tagged(id, answer) {
                    header(answer, "etag", "The version of what is answered");
                }
            }
        }
    }
}

/// Whether an answer has an entity tag: those that hold one campaign, and its statistics.
fn is_tagged(id: &str, answer: &Response) -> bool {
    id == "get_campaign_statistics" || answer.content.values().any(|content| {
        let RefOr::T(content) = content else { return false };
        matches!(&content.schema, Some(RefOr::Ref(schema)) if schema.ref_location.ends_with("/CampaignOut"))
    })
}

fn header(answer: &mut Response, name: &str, description: &str) {
    let mut header = Header::new(ObjectBuilder::new().schema_type(Type::String));
    header.description = Some(description.to_owned());
    answer.headers.insert(name.to_owned(), RefOr::T(header));
}

/// What every answer of a status means, where its route says nothing of its own.
fn meaning(status: &str) -> &'static str {
    match status {
        "200" => "It was found, or done",
        "201" => "It was made",
        "202" => "It was taken, and is being done",
        "4XX" => "It was refused; `code` says why, and stays",
        "429" => "More was asked for than there is: try again later",
        "503" => "Something is away for a moment, or too much was asked: try again",
        _ => "As described",
    }
}
