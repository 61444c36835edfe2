//! Pages in browsers that follow what happens. Each takes one of the six connections that a browser opens to a host, so a
//! connection has room for few, and the oldest gives way.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Most pages of one connection that follow: a browser needs the sixth for everything else.
pub const STREAMS: usize = 5;

/// See the module.
#[derive(Default)]
pub struct Streams(Mutex<VecDeque<CancellationToken>>);

impl Streams {
    /// Adds a page; what is returned fires when it has to give way to another one. Dropping it frees its place.
    pub fn add(&self) -> CancellationToken {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| !one.is_cancelled());
        if all.len() >= STREAMS {
            all.pop_front().inspect(CancellationToken::cancel);
        }
        let token = CancellationToken::new();
        all.push_back(token.clone());
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_gives_way_and_those_that_ended_take_no_place() {
        let streams = Streams::default();
        let all: Vec<CancellationToken> = (0..STREAMS).map(|_| streams.add()).collect();
        all[2].cancel();
        streams.add();
        assert!(!all[0].is_cancelled());
        streams.add();
        assert!(all[0].is_cancelled() && !all[1].is_cancelled());
    }
}
