//! A new kind of step, probe, driver, command or event does not compile until everything that decides by the kind knows
//! it. A match over kinds with `_` would take it for something else in silence.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

/// Commands are not among them: who picks some of them refuses the others, and `Command::path` and the rights name each.
/// The enumerations of kinds, with the file below `src` that declares each.
const KINDS: [(&str, &str); 5] = [
    ("StepBody", "domain/task/body.rs"),
    ("Probe", "domain/check/probe.rs"),
    ("Driver", "domain/inventory/inventory.rs"),
    ("EventKind", "domain/run/event.rs"),
    ("RunKind", "domain/plan/plan.rs"),
];

/// The matches that tell two or more kinds apart and take all others for one, as `file: fn name`.
pub fn catch_alls(sources: &BTreeMap<String, String>) -> Vec<String> {
    let kinds: Vec<BTreeSet<String>> =
        KINDS.iter().map(|(name, file)| variants(name, &sources[*file])).collect();
    let mut found = Vec::new();
    for (file, text) in sources {
        let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut matches = Matches { kinds: &kinds, function: String::new(), found: Vec::new() };
        matches.visit_file(&parsed);
        found.extend(matches.found.iter().map(|function| format!("{file}: fn {function}")));
    }
    found
}

fn variants(name: &str, text: &str) -> BTreeSet<String> {
    let parsed = syn::parse_file(text).expect("a file of the kinds");
    let found = parsed.items.iter().find_map(|item| match item {
        syn::Item::Enum(one) if one.ident == name => Some(one),
        _ => None,
    });
    let found = found.unwrap_or_else(|| panic!("no `{name}` in its file"));
    found.variants.iter().map(|variant| variant.ident.to_string()).collect()
}

struct Matches<'k> {
    kinds: &'k [BTreeSet<String>],
    /// The function that is being read.
    function: String,
    found: Vec<String>,
}

impl<'ast> Visit<'ast> for Matches<'_> {
    fn visit_expr_match(&mut self, one: &'ast syn::ExprMatch) {
        if self.is_catch_all(one) {
            self.found.push(self.function.clone());
        }
        visit::visit_expr_match(self, one);
    }

    fn visit_signature(&mut self, one: &'ast syn::Signature) {
        self.function = one.ident.to_string();
    }

    fn visit_item_mod(&mut self, one: &'ast syn::ItemMod) {
        if !super::imports::is_test(&one.attrs) {
            visit::visit_item_mod(self, one);
        }
    }
}

impl Matches<'_> {
    fn is_catch_all(&self, one: &syn::ExprMatch) -> bool {
        let takes_rest = |arm: &syn::Arm| arm.guard.is_none() && takes_all(&arm.pat);
        if !one.arms.iter().any(takes_rest) {
            return false;
        }
        let mut named = Named::default();
        one.arms.iter().for_each(|arm| named.visit_pat(&arm.pat));
        self.kinds.iter().enumerate().any(|(kind, variants)| {
            let is_of_it = |path: &Vec<String>| match &path[..] {
                [.., before, last] => variants.contains(last) && stands_for(before, KINDS[kind].0),
                [last] => variants.contains(last) && !last.is_empty(),
                [] => false,
            };
            named.paths.iter().filter(|path| is_of_it(path)).count() > 1
        })
    }
}

/// `EventKind::Began` is also written `E::Began`.
fn stands_for(before: &str, kind: &str) -> bool {
    before == kind || (before.len() == 1 && kind.starts_with(before))
}

fn takes_all(pattern: &syn::Pat) -> bool {
    match pattern {
        syn::Pat::Wild(_) => true,
        syn::Pat::Ident(name) => {
            name.subpat.is_none() && name.ident.to_string().starts_with(char::is_lowercase)
        }
        syn::Pat::Tuple(all) => all.elems.iter().all(takes_all),
        syn::Pat::Or(any) => any.cases.iter().any(takes_all),
        _ => false,
    }
}

#[derive(Default)]
struct Named {
    paths: BTreeSet<Vec<String>>,
}

impl<'ast> Visit<'ast> for Named {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.insert(path.segments.iter().map(|part| part.ident.to_string()).collect());
        visit::visit_path(self, path);
    }
}
