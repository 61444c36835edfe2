//! One call of a tool, and its answer: the objects of the command with `--json`, and the same as text.

use std::sync::Arc;

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::schema::DIGEST;
use crate::domain::ask::agent::{AgentAsk, AgentUse};
use crate::domain::ask::resource::{Given, Gives};
use crate::domain::ask::tools::AgentTool;
use crate::domain::base::refusal::Refusal;
use crate::door::api::items::Page;
use crate::door::api::perform::{Answer, perform_for_agent};
use crate::door::api::plain::{text_of, wanted_page};
use crate::door::api::problem::Problem;
use crate::door::client::Client;

/// Largest answer, in bytes: a model reads all of it.
pub(super) const ANSWER_BYTES: usize = 256 * 1024;

/// Items of a page, if a call does not say how many.
const PAGE_ITEMS: usize = 100;

/// Calls a tool.
pub(super) async fn call(
    client: &Arc<Client>,
    (tool, mut given): (&AgentTool, Given),
    gone: CancellationToken,
) -> Result<CallToolResult, Refusal> {
    let agent = match tool.is_for {
        AgentUse::Starts => AgentAsk::Starts { digest: digest_of(&mut given)? },
        AgentUse::Reads | AgentUse::Plans | AgentUse::Never => AgentAsk::Reads,
    };
    if tool.resource.gives == Gives::Items {
        given.entry("limit").or_insert(PAGE_ITEMS.into());
    }
    let page = wanted_page(&tool.resource, &mut given)?;
    let answer = perform_for_agent(client, (&tool.resource, &given), agent, gone).await?;
    let (value, text) = within_bounds(tool, &answer, page)?;
    let mut content = vec![ContentBlock::text(text)];
    if !answer.remarks.is_empty() {
        content.push(ContentBlock::text(answer.remarks));
    }
    let mut result = CallToolResult::success(content);
    result.structured_content = Some(value);
    Ok(result)
}

/// A refusal, with the words and the hint of the command line.
pub(super) fn refused(refusal: &Refusal) -> CallToolResult {
    let mut result = CallToolResult::error(vec![ContentBlock::text(refusal.to_string())]);
    result.structured_content = Some(json!(Problem::from(refusal)));
    result
}

fn digest_of(given: &mut Given) -> Result<String, Refusal> {
    match given.remove(DIGEST) {
        Some(Value::String(digest)) => Ok(digest),
        _ => Err(Refusal::usage(format!("`{DIGEST}` is missing")).hint("the answer of `plan` has it")),
    }
}

/// The answer as an object and as text. A page that is too large is cut in half until it fits.
fn within_bounds(tool: &AgentTool, answer: &Answer, mut page: Page) -> Result<(Value, String), Refusal> {
    loop {
        let text = text_of(&tool.resource, answer, &page)?;
        if let Gives::Text(_) = tool.resource.gives {
            fits(&text)?;
            return Ok((json!({ "text": text }), text));
        }
        if tool.resource.gives == Gives::Items && text.len() > ANSWER_BYTES && page.limit > 1 {
            page.limit /= 2;
            continue;
        }
        let value = serde_json::from_str(&text).map_err(|error| Refusal::internal(error.to_string()))?;
        let value = match tool.is_for {
            AgentUse::Plans => planned(value, (&text, answer)),
            AgentUse::Starts => proposed(value),
            AgentUse::Reads | AgentUse::Never => value,
        };
        let text = value.to_string();
        fits(&text)?;
        return Ok((value, text));
    }
}

fn fits(text: &str) -> Result<(), Refusal> {
    let bytes = text.len();
    if bytes <= ANSWER_BYTES {
        return Ok(());
    }
    let why = format!("the answer has {bytes} bytes, and one for an agent at most {ANSWER_BYTES}");
    Err(Refusal::rule(why).hint("ask for less: fewer hosts, one run, one check"))
}

/// A plan with its digest. The approver reads all of a plan; the steps of many hosts are too much for a model.
fn planned(mut plan: Value, (text, answer): (&str, &Answer)) -> Value {
    if let Some(digest) = &answer.digest {
        plan[DIGEST] = digest.as_str().into();
    }
    if text.len() > ANSWER_BYTES / 2
        && let Some(plan) = plan.as_object_mut()
    {
        plan.remove("hosts");
        let why = "`hosts`, with the steps of each: they are too many for one answer; plan a part of them to read those";
        plan.insert("left_out".into(), why.into());
    }
    plan
}

fn proposed(mut started: Value) -> Value {
    if let Some(run) = started["run"].as_u64() {
        started["waits"] =
            format!("for another person, who reads it by `show {run}` and starts it by `approve {run}`")
                .into();
    }
    started
}
