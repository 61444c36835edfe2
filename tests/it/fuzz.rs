//! The fuzz targets, run on their seeds and on mutations of them: parsers of what operators, hosts, files and the store
//! say. `tests/fuzz/README.md` says how `cargo fuzz` finds new inputs.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use targets::TARGETS;

/// Mutations that are tried for each target.
const MUTATIONS: usize = 3_000;

/// Longest input, in bytes.
const INPUT_BYTES: usize = 4_096;

#[test]
fn nothing_that_is_said_to_a_parser_makes_it_panic() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "no seeds for {name}");
        seeds.iter().for_each(|seed| target(seed));
        let mut random = StdRng::seed_from_u64(11);
        for _ in 0..MUTATIONS {
            target(&mutated(&seeds, &mut random));
        }
    }
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Parts of seeds put together, with bytes changed, repeated and taken out.
fn mutated(seeds: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = seeds.choose(random).unwrap().clone();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=bytes.len());
        let other = seeds.choose(random).unwrap();
        let from = random.random_range(0..=other.len());
        let part = &other[from..(from + random.random_range(0..20)).min(other.len())];
        match random.random_range(0..5) {
            0 => _ = bytes.splice(at..at, part.iter().copied()),
            1 => _ = bytes.splice(at..at, part.repeat(random.random_range(1..200))),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, random.random()),
            _ => _ = bytes.drain(at..(at + random.random_range(0..8)).min(bytes.len())),
        }
        bytes.truncate(INPUT_BYTES);
    }
    bytes
}
