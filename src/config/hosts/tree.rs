//! The groups of one file: parents and children, depths, and hosts.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::hosts::HostFile;

/// Indexes are those of `HostFile::groups`.
pub struct Tree {
    /// Distance from the group that has no parent; settings of deeper groups win.
    pub depth: Vec<usize>,
    /// Names of hosts as written, including those of child groups, each once.
    pub members: Vec<Vec<String>>,
}

/// Builds the tree of a file. Unknown children and cycles are reported and left out.
pub fn tree(file: &HostFile<'_>) -> Tree {
    let children = children(file);
    let order = children_first(file, &children);
    let mut depth = vec![0; file.groups.len()];
    for &at in order.iter().rev() {
        for &child in &children[at] {
            depth[child] = depth[child].max(depth[at] + 1);
        }
    }
    let mut members: Vec<Vec<String>> = vec![Vec::new(); file.groups.len()];
    for &at in &order {
        let own = file.groups[at].hosts.iter().map(|host| host.written.clone());
        let inherited = children[at].iter().flat_map(|child| members[*child].clone());
        let mut seen = BTreeSet::new();
        members[at] = own.chain(inherited).filter(|written| seen.insert(written.clone())).collect();
    }
    Tree { depth, members }
}

fn children(file: &HostFile<'_>) -> Vec<Vec<usize>> {
    let index: BTreeMap<&str, usize> =
        file.groups.iter().enumerate().map(|(at, group)| (group.name.get_ref().as_str(), at)).collect();
    let find = |child: &Spanned<String>| {
        let found = index.get(child.get_ref().as_str()).copied();
        if found.is_none() {
            file.doc.unknown(child.span(), "group of this file", child.get_ref(), index.keys().copied());
        }
        found
    };
    file.groups.iter().map(|group| group.children.iter().filter_map(find).collect()).collect()
}

/// All groups, each after its children. A child that leads back to its parent is reported.
fn children_first(file: &HostFile<'_>, children: &[Vec<usize>]) -> Vec<usize> {
    let mut order = Vec::new();
    let mut done = vec![false; children.len()];
    for start in 0..children.len() {
        // The path from `start` to the present group; with each group, the index of its next child.
        let mut path = if done[start] { vec![] } else { vec![(start, 0)] };
        while let Some((at, next)) = path.pop() {
            let Some(&child) = children[at].get(next) else {
                done[at] = true;
                order.push(at);
                continue;
            };
            path.push((at, next + 1));
            if let Some(from) = path.iter().position(|(group, _)| *group == child) {
                report_cycle(file, &path[from..]);
            } else if !done[child] {
                path.push((child, 0));
            }
        }
    }
    order
}

fn report_cycle(file: &HostFile<'_>, path: &[(usize, usize)]) {
    let name = |at: usize| file.groups[at].name.get_ref().as_str();
    let mut names: Vec<&str> = path.iter().map(|(at, _)| name(*at)).collect();
    let (Some(&first), Some(&(last, _))) = (names.first(), path.last()) else { return };
    names.push(first);
    let child = file.groups[last].children.iter().find(|child| child.get_ref() == first);
    let message = format!("a group cannot contain itself: {}", names.join(" > "));
    file.doc.wrong(child.map(Spanned::span), message);
}
