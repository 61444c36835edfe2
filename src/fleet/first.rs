//! Several addresses of one host: the first that connects, in the simple form of RFC 8305.

use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::timeout;

/// The next address is tried when one has not answered for so long: the Connection Attempt Delay of RFC 8305.
const STAGGER: Duration = Duration::from_millis(250);

/// The first of several addresses that connects. Each starts when the one before has failed, or has not answered for a
/// moment; none is cut short for a later one. `open` gets the
/// place of an address. The error has the reason of each.
pub(super) async fn first_of<T, F>(addresses: &[&str], open: impl Fn(usize) -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, String>>,
{
    let attempt = |place: usize, opening: F| async move { (place, opening.await) };
    let (mut under_way, mut reasons) = (FuturesUnordered::new(), Vec::new());
    let mut waiting = 0..addresses.len();
    loop {
        if under_way.is_empty() && waiting.is_empty() {
            break;
        }
        if let Some(place) = waiting.next() {
            under_way.push(attempt(place, open(place)));
        }
        let ended = match waiting.len() {
            0 => under_way.next().await,
            _ => timeout(STAGGER, under_way.next()).await.unwrap_or_default(),
        };
        match ended {
            Some((_, Ok(opened))) => return Ok(opened),
            Some((place, Err(why))) => reasons.push((place, why)),
            None => {}
        }
    }
    reasons.sort();
    let shown = |(place, why): (usize, String)| match addresses {
        [_] => why,
        _ => format!("{}: {why}", addresses[place]),
    };
    match reasons.is_empty() {
        true => Err("it has no address".into()),
        false => Err(reasons.into_iter().map(shown).collect::<Vec<String>>().join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    /// `1:ok` answers after a second, `0:why` fails at once, `-:x` never answers.
    async fn one(address: &str) -> Result<String, String> {
        let (after, what) = address.split_once(':').unwrap();
        match after.parse() {
            Ok(secs) => sleep(Duration::from_secs(secs)).await,
            Err(_) => std::future::pending().await,
        }
        if what == "ok" { Ok(address.into()) } else { Err(what.into()) }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_address_that_connects_is_taken_and_each_reason_is_named() {
        for (addresses, expected, millis) in [
            (&["0:ok"][..], Ok("0:ok"), 0),
            (&["0:refused"], Err("refused"), 0),
            (&["0:refused", "0:ok"], Ok("0:ok"), 0),
            (&["-:silent", "0:ok"], Ok("0:ok"), 250),
            (&["1:ok", "3:ok"], Ok("1:ok"), 1000),
            (&["-:silent", "0:no route", "2:ok"], Ok("2:ok"), 2250),
            (&["1:late", "0:no route"], Err("1:late: late; 0:no route: no route"), 1000),
            (&[], Err("it has no address"), 0),
        ] {
            let begun = tokio::time::Instant::now();
            let opened = first_of(addresses, |place| one(addresses[place])).await;
            assert_eq!(opened.as_deref().map_err(String::as_str), expected, "{addresses:?}");
            // Paused time has a resolution of one millisecond.
            let took = begun.elapsed().as_millis();
            assert!((millis..=millis + 2).contains(&took), "{addresses:?}: {took} ms");
        }
    }
}
