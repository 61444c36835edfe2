//! Which file of `src` names which other one: by `use`, by a path in code, in a macro or in a signature, whether
//! it begins with `crate`, `super`, `self` or a child module. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// The modules of the crate, by their path: `["domain", "plan"]`; each with its file below `src`.
type Modules = BTreeMap<Vec<String>, String>;

/// For each file below `src` the files that it names.
pub type Graph = BTreeMap<String, BTreeSet<String>>;

/// The imports of all files; `sources` by their path below `src`.
pub fn graph(sources: &BTreeMap<String, String>) -> Graph {
    let modules: Modules = sources.keys().map(|file| (module_of(file), file.clone())).collect();
    let of = |(file, text): (&String, &String)| (file.clone(), imports(file, text, &modules));
    sources.iter().map(of).collect()
}

fn module_of(file: &str) -> Vec<String> {
    let path = Path::new(file).with_extension("");
    let mut parts: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| ["mod", "lib"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

fn imports(file: &str, text: &str, modules: &Modules) -> BTreeSet<String> {
    let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut paths = Paths::default();
    paths.visit_file(&parsed);
    let module = module_of(file);
    let targets = paths.found.iter().filter_map(|path| target(path, &module, modules));
    targets.filter(|target| target != file).collect()
}

/// The file that a path leads to: that of the longest part that is a module.
fn target(path: &[String], module: &[String], modules: &Modules) -> Option<String> {
    let whole = absolute(path, module, modules)?;
    (1..=whole.len()).rev().find_map(|length| modules.get(&whole[..length]).cloned())
}

fn absolute(path: &[String], module: &[String], modules: &Modules) -> Option<Vec<String>> {
    let below = |base: &[String], rest: &[String]| [base, rest].concat();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some(below(module, &path[1..])),
        "super" => {
            let ups = path.iter().take_while(|part| *part == "super").count();
            Some(below(&module[..module.len().checked_sub(ups)?], &path[ups..]))
        }
        _ => {
            let child = below(module, path);
            modules.contains_key(&child[..=module.len()]).then_some(child)
        }
    }
}

#[derive(Default)]
struct Paths {
    found: Vec<Vec<String>>,
}

pub(super) fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
    })
}

impl Paths {
    fn used(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.used(&path.tree, &with(&path.ident)),
            syn::UseTree::Name(name) if name.ident == "self" => self.found.push(before.to_vec()),
            syn::UseTree::Name(name) => self.found.push(with(&name.ident)),
            syn::UseTree::Rename(name) => self.found.push(with(&name.ident)),
            syn::UseTree::Glob(_) => self.found.push(before.to_vec()),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.used(tree, before)),
        }
    }

    /// Paths in the arguments of a macro, which is not parsed: names with `::` between them.
    fn in_macro(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) if colons == 2 => path.push(name.to_string()),
                TokenTree::Punct(mark) if mark.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(name) => {
                    self.found.push(std::mem::replace(&mut path, vec![name.to_string()]));
                }
                TokenTree::Group(group) => {
                    self.found.push(std::mem::take(&mut path));
                    self.in_macro(group.stream());
                }
                _ => self.found.push(std::mem::take(&mut path)),
            }
            colons = 0;
        }
        self.found.push(path);
        self.found.retain(|path| path.len() > 1);
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.used(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.found.push(path.segments.iter().map(|part| part.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.in_macro(item.tokens.clone());
        visit::visit_macro(self, item);
    }
}

/// Files that lead back to themselves, in groups: the strongly connected parts of the graph with more than one file.
pub fn circles(graph: &Graph) -> Vec<BTreeSet<String>> {
    let reach: BTreeMap<&String, BTreeSet<String>> =
        graph.keys().map(|file| (file, reached(graph, file))).collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (file, ahead) in &reach {
        let back = |other: &&String| reach.get(other).is_some_and(|theirs| theirs.contains(*file));
        let circle: BTreeSet<String> = ahead.iter().filter(back).cloned().collect();
        if circle.len() > 1 && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

fn reached(graph: &Graph, from: &String) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&String> = vec![from];
    while let Some(file) = next.pop() {
        let new = graph.get(file).into_iter().flatten().filter(|file| reached.insert((*file).clone()));
        next.extend(new);
    }
    reached
}

#[test]
fn imports_are_found_however_they_are_written() {
    let files = [
        ("a/mod.rs", "mod b; mod c; use self::b::B; fn f() { c::run(); }"),
        ("a/b.rs", "use super::{c::{self, C}, d}; #[cfg(test)] mod tests { use crate::e::E; }"),
        ("a/c.rs", "fn f() { assert!(crate::e::holds(crate::a::b::B)); }"),
        ("e.rs", "pub struct E;"),
        ("lib.rs", "pub mod a; pub mod e;"),
    ];
    let graph = graph(&files.map(|(file, text)| (file.to_string(), text.to_string())).into());
    let of = |file: &str| graph[file].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(of("a/mod.rs"), ["a/b.rs", "a/c.rs"]);
    assert_eq!(of("a/b.rs"), ["a/c.rs", "a/mod.rs"]);
    assert_eq!(of("a/c.rs"), ["a/b.rs", "e.rs"]);
    let circle = ["a/b.rs", "a/c.rs", "a/mod.rs"].map(String::from).into();
    assert_eq!(circles(&graph), [circle]);
}
