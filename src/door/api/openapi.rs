//! The OpenAPI document, made from the table of resources.

use std::sync::LazyLock;

use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, Object, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, HttpMethod, InfoBuilder, ObjectBuilder, OneOfBuilder, OpenApi,
    OpenApiBuilder, Paths, Ref, RefOr, Required, Response, ResponseBuilder, Schema, SecurityRequirement,
};

use super::items::PAGE_LIMIT;
use super::problem;
use crate::domain::ask::command::about;
use crate::domain::ask::field_notes::note;
use crate::domain::ask::resource::{Field, FieldKind, Gives, LARGEST_NUMBER, RESOURCES, Resource, Verb};
use crate::domain::base::refusal::Cause;

const TOKEN: &str = "token";
const PROBLEM: &str = "Problem";
const ITEM: &str = "Item";
const PAGE: &str = "Page";
const STARTED: &str = "Started";

/// The document as it is served.
pub(super) fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(document);
    &TEXT
}

/// The document; its text is the same for the same build.
pub fn document() -> String {
    let mut paths = Paths::new();
    for resource in RESOURCES {
        let method = match resource.verb {
            Verb::Get => HttpMethod::Get,
            Verb::Post => HttpMethod::Post,
            Verb::Delete => HttpMethod::Delete,
        };
        paths.add_path_operation(resource.path, vec![method], operation(resource));
    }
    let info = InfoBuilder::new().title("rollcall").version(env!("CARGO_PKG_VERSION")).description(Some(
        "Every command of rollcall as a resource. Reach it by `ssh -L 8080:rollcall:80 rollcall` or `ssh -s rollcall api`; the \
         operator and their rights are those of the SSH session.",
    ));
    let document: OpenApi = OpenApiBuilder::new()
        .info(info.build())
        .paths(paths)
        .components(Some(components().build()))
        .security(Some([SecurityRequirement::new(TOKEN, Vec::<String>::new())]))
        .build();
    let text = document.to_pretty_json().unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
    text + "\n"
}

fn components() -> ComponentsBuilder {
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "The answer of `ssh rollcall web --token`; needed through a forwarded port, which other users of the machine reach, too",
    ));
    let item = object()
        .property("schema", typed(Type::String))
        .required("schema")
        .additional_properties(Some(AdditionalProperties::FreeForm(true)));
    let page = object()
        .property("items", ArrayBuilder::new().items(Ref::from_schema_name(ITEM)))
        .required("items")
        .property("next", nullable_text("The `cursor` of the next page; null on the last one"))
        .required("next");
    let started = object()
        .property("run", typed(Type::Integer))
        .property("items", ArrayBuilder::new().items(Ref::from_schema_name(ITEM)))
        .property("next", nullable_text("Always null"))
        .description(Some("The run that was started; or items, if no run was needed"));
    let problem = object()
        .property("type", typed(Type::String))
        .required("type")
        .property("title", typed(Type::String))
        .required("title")
        .property("status", typed(Type::Integer))
        .required("status")
        .property("detail", typed(Type::String))
        .required("detail")
        .property("hint", typed(Type::String))
        .property("exit_status", typed(Type::Integer))
        .required("exit_status")
        .description(Some("Why a request was not done (RFC 9457), in the words of the command line"));
    ComponentsBuilder::new()
        .security_scheme(TOKEN, SecurityScheme::Http(token.build()))
        .schema(ITEM, item)
        .schema(PAGE, page)
        .schema(STARTED, started)
        .schema(PROBLEM, problem)
}

fn object() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::Object))
}

fn typed(kind: Type) -> Object {
    ObjectBuilder::new().schema_type(SchemaType::Type(kind)).build()
}

fn nullable_text(about: &str) -> Object {
    let kinds = SchemaType::Array(vec![Type::String, Type::Null]);
    ObjectBuilder::new().schema_type(kinds).description(Some(about)).build()
}

fn operation(resource: &Resource) -> OperationBuilder {
    let words = resource.literal();
    let summary = about(&words).unwrap_or_else(|| "Run a task on hosts".into());
    let shown = if words.is_empty() { "TASK SELECTOR".to_string() } else { words };
    let mut operation = OperationBuilder::new()
        .operation_id(Some(operation_id(resource)))
        .summary(Some(summary))
        .description(Some(format!("The command `{shown}`.")));
    for field in resource.fields().iter().filter(|field| field.is_in_path || !resource.acts()) {
        operation = operation.parameter(parameter(field));
    }
    if resource.gives == Gives::Items {
        operation = operation.parameter(paging("limit", limit_schema(), "Most items of the answer"));
        operation = operation.parameter(paging("cursor", word_schema(), "`next` of the page before"));
    }
    if resource.acts() {
        operation = operation.request_body(body(resource));
    }
    if resource.gives == Gives::Run {
        let key = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .schema(Some(key_schema()))
            .description(Some(
                "The same request again, with the same key, gets the run that the first one has started",
            ));
        operation = operation.parameter(key);
    }
    responses(resource, operation)
}

/// `get_runs_run_events`
fn operation_id(resource: &Resource) -> String {
    let path = resource.path.trim_start_matches("/v1/").replace(['{', '}'], "").replace(['/', '-', '.'], "_");
    format!("{:?}_{path}", resource.verb).to_ascii_lowercase()
}

fn limit_schema() -> RefOr<Schema> {
    let limit = u32::try_from(PAGE_LIMIT).unwrap_or(u32::MAX);
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Integer))
        .minimum(Some(1))
        .maximum(Some(limit))
        .into()
}

fn key_schema() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).pattern(Some("^[!-~]{1,128}$")).into()
}

fn paging(name: &str, schema: RefOr<Schema>, about: &str) -> ParameterBuilder {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query);
    parameter.schema(Some(schema)).description(Some(about))
}

/// Texts have no NUL, and begin with no `-`, which is for options.
const WORD: &str = r"^[^-\u0000][^\u0000]*$";

/// A time with its unit, such as 90s, 2h or 7d.
const TIME: &str = "^[1-9][0-9]{0,3}[smhd]$";

/// Most runs of a list, as the grammar has it.
const MOST_RUNS: i64 = 10_000;

fn text_schema(pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).pattern(Some(pattern))
}

fn word_schema() -> RefOr<Schema> {
    text_schema(WORD).min_length(Some(1)).into()
}

/// The schema of a field.
pub(super) fn schema_of(field: &Field) -> RefOr<Schema> {
    let object = ObjectBuilder::new();
    match field.kind {
        FieldKind::Text => match choices(field.name) {
            [] if field.name == "for" => text_schema(TIME).into(),
            [] => word_schema(),
            all => object
                .schema_type(SchemaType::Type(Type::String))
                .enum_values(Some(all.iter().copied()))
                .into(),
        },
        FieldKind::Number => {
            let (least, most) = match field.name {
                "port" => (1, i64::from(u16::MAX)),
                "last" => (1, MOST_RUNS),
                _ => (0, LARGEST_NUMBER),
            };
            let number = object.schema_type(SchemaType::Type(Type::Integer));
            number.minimum(Some(least)).maximum(Some(most)).into()
        }
        FieldKind::Flag => object.schema_type(SchemaType::Type(Type::Boolean)).into(),
        FieldKind::List => ArrayBuilder::new().items(text_schema(WORD).build()).into(),
        FieldKind::Values => {
            let values = AdditionalProperties::RefOr(text_schema("^[^\\u0000]*$").build().into());
            let names = text_schema("^[A-Za-z_][A-Za-z0-9_]*$").build();
            object
                .schema_type(SchemaType::Type(Type::Object))
                .property_names(Some(names))
                .additional_properties(Some(values))
                .into()
        }
    }
}

/// The words of which a field is one; none if it is any text.
fn choices(name: &str) -> &'static [&'static str] {
    match name {
        "format" => &["text", "json", "jsonl", "nagios", "junit", "tap", "prometheus"],
        "completion" => &["bash", "zsh", "fish"],
        _ => &[],
    }
}

/// An optional field of a body, which may be null.
fn optional(schema: RefOr<Schema>) -> RefOr<Schema> {
    let null = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Null));
    OneOfBuilder::new().item(schema).item(null).into()
}

fn parameter(field: &Field) -> ParameterBuilder {
    let (place, is_required) = match field.is_in_path {
        true => (ParameterIn::Path, Required::True),
        false if field.is_required => (ParameterIn::Query, Required::True),
        false => (ParameterIn::Query, Required::False),
    };
    let schema = match field.kind {
        // In a query, words stand behind each other.
        FieldKind::List => text_schema("^[^\\u0000]*$").into(),
        _ => schema_of(field),
    };
    let parameter = ParameterBuilder::new().name(field.name).parameter_in(place).required(is_required);
    parameter.schema(Some(schema)).description(Some(note(field.name)))
}

fn body(resource: &Resource) -> Option<utoipa::openapi::request_body::RequestBody> {
    let fields: Vec<Field> = resource.fields().into_iter().filter(|field| !field.is_in_path).collect();
    let mut schema = object().additional_properties(Some(AdditionalProperties::FreeForm(false)));
    for field in &fields {
        schema = match field.is_required {
            true => schema.property(field.name, schema_of(field)).required(field.name),
            false => schema.property(field.name, optional(schema_of(field))),
        };
    }
    let is_needed = fields.iter().any(|field| field.is_required);
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let body = RequestBodyBuilder::new().content("application/json", content);
    let required = if is_needed { Required::True } else { Required::False };
    (!fields.is_empty()).then(|| body.required(Some(required)).build())
}

fn responses(resource: &Resource, operation: OperationBuilder) -> OperationBuilder {
    let of = |name: &str| RefOr::from(Ref::from_schema_name(name));
    let text = || RefOr::from(typed(Type::String));
    let ok = match resource.gives {
        Gives::Items => answer("application/json", of(PAGE), "A page of items"),
        Gives::One => answer("application/json", of(ITEM), "One object"),
        Gives::Text(media) => answer(media, text(), "A text"),
        Gives::Archive => answer("application/x-tar", text(), "A tar archive"),
        Gives::Raw if resource.acts() => {
            answer("application/octet-stream", text(), "The file as it is on the host")
        }
        Gives::Raw => answer(
            "text/plain; charset=utf-8",
            text(),
            "The output as the host printed it; `Range` is for a part of it",
        ),
        Gives::Run => answer(
            "application/json",
            of(STARTED),
            "No run was needed, or the same request has started it before",
        ),
        Gives::Stream => {
            let lines = ContentBuilder::new().schema(Some(text())).build();
            ResponseBuilder::new()
                .description("Objects as they happen, one a line or as server-sent events")
                .content("application/x-ndjson", lines.clone())
                .content("text/event-stream", lines)
                .build()
        }
    };
    let mut operation = operation.response("200", ok);
    if resource.gives == Gives::Run {
        operation = operation.response("201", answer("application/json", of(STARTED), "The run has started"));
    }
    for (status, about) in refusals(resource) {
        operation =
            operation.response(status.to_string(), answer("application/problem+json", of(PROBLEM), about));
    }
    operation
}

fn answer(media: &str, schema: RefOr<Schema>, about: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(about).content(media, content).build()
}

/// Statuses of refusals, each once.
fn refusals(resource: &Resource) -> Vec<(u16, &'static str)> {
    use Cause::{Continues, Failed, Internal, NotAllowed, NotFound, Rule, Usage};
    let causes = [Usage, NotAllowed, NotFound, Rule, Internal, Failed, Continues];
    let mut all: Vec<(u16, &'static str)> =
        causes.map(problem::words).map(|(_, title, status)| (status.as_u16(), title)).to_vec();
    all.push((401, "The token is missing, or holds no more"));
    if resource.acts() {
        all.extend([
            (408, "The body was too slow"),
            (413, "The body is too large"),
            (415, "The body is no JSON"),
        ]);
    }
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_resource_is_an_operation_with_a_name_of_its_own() {
        let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
        assert_eq!(document["openapi"], json!("3.1.0"));
        let mut names = Vec::new();
        for resource in RESOURCES {
            let operation = &document["paths"][resource.path][format!("{:?}", resource.verb).to_lowercase()];
            names.push(operation["operationId"].as_str().unwrap().to_string());
            assert!(operation["summary"].as_str().unwrap().len() > 3, "{resource:?}");
        }
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
