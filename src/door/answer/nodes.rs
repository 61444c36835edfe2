//! `nodes`: sets of names, folded, expanded and counted.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::asked::{Asked, Ended};
use crate::domain::ask::adhoc::{NodesAsk, NodesVerb};
use crate::domain::base::nodes::{evaluate, in_order};
use crate::domain::base::nodeset::fold;
use crate::domain::base::refusal::Refusal;
use crate::domain::inventory::inventory::Inventory;
use crate::domain::inventory::selector::select;
use crate::present::json;

/// How long the names on standard input may take.
const INPUT_LIMIT: Duration = Duration::from_secs(60);

/// A set of names, for programs.
#[derive(Serialize)]
struct Nodes {
    count: usize,
    folded: String,
    names: Vec<String>,
}

impl Asked<'_> {
    pub(super) async fn nodes(&mut self, inventory: &Arc<Inventory>, asked: &NodesAsk) -> Result<u8, Ended> {
        let words = match asked.reads_input() {
            true => self.words_of_input().await?,
            false => asked.words.clone(),
        };
        let (inventory, json, verb) = (inventory.clone(), self.json, asked.verb);
        let render = move || {
            let named = |term: &str| {
                let selector = if term == "*" { "all" } else { term };
                let picked = select(&inventory, selector).map_err(|refusal| refusal.to_string())?;
                Ok(picked.iter().map(ToString::to_string).collect())
            };
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let names = evaluate(&words, &named)?;
            let folded = fold(names.iter().map(String::as_str));
            Ok(match (json, verb) {
                (true, _) => {
                    json::line("nodes", Nodes { count: names.len(), folded, names: in_order(&names)? })
                }
                (false, NodesVerb::Fold) => format!("{folded}\n"),
                (false, NodesVerb::Expand) => format!("{}\n", in_order(&names)?.join(" ")),
                (false, NodesVerb::Count) => format!("{}\n", names.len()),
            })
        };
        let text = self.work(render).await?.map_err(|why: String| Refusal::usage(why))?;
        self.say(&text).await
    }

    /// The words on standard input, which may be on several lines.
    async fn words_of_input(&mut self) -> Result<Vec<String>, Ended> {
        let hint = "try: nodes fold web01 web02; nodes fold <FILE";
        let none = || Refusal::usage("say which names").hint(hint);
        if self.terminal.is_interactive() {
            return Err(none().into());
        }
        let input = self.terminal.input().ok_or_else(none)?;
        let bytes = tokio::time::timeout(INPUT_LIMIT, input.whole()).await.ok().flatten();
        let unread = || Refusal::usage("the names on standard input have no end, or are too many").hint(hint);
        let text = String::from_utf8(bytes.ok_or_else(unread)?);
        let text = text.map_err(|_| Refusal::usage("the names on standard input are not UTF-8"))?;
        Ok(text.split_whitespace().map(String::from).collect())
    }
}
