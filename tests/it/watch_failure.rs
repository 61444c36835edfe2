//! Watching that fails inside rollcall starts again from the stored state, and operators and people hear of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use rollcall::domain::base::name::HostName;
use rollcall::domain::check::id::CheckId;
use rollcall::domain::plan::release::ReleaseTakeover;
use rollcall::domain::watch::roll::{Covered, Downtime};
use rollcall::domain::watch::roster::{RosterSettings, WatchedHost};
use rollcall::engine::HeldHosts;
use rollcall::store::SqliteStore;
use rollcall::watch::{self as watching, MonitorEnvironment, Orders, Watchlist};
use tokio::sync::watch;

use crate::outcomes::ports_of;
use crate::support::eventually;
use crate::support::site::Site;

/// A configuration that fails inside when it is read for the second time.
struct Failing {
    fails: Arc<AtomicBool>,
}

impl Watchlist for Failing {
    fn orders(&self) -> Orders {
        assert!(!self.fails.swap(false, Ordering::Relaxed), "this test fails inside on purpose");
        Orders {
            enabled: true,
            settings: RosterSettings {
                zone: jiff::tz::TimeZone::UTC,
                flapping: Default::default(),
                parallel: 1,
                per_host: 1,
            },
            keep_samples: Duration::from_secs(3600),
            keep_changes: Duration::from_secs(3600),
            files: "/nowhere".into(),
        }
    }

    fn wanted(&self, _: BTreeMap<HostName, Vec<ReleaseTakeover>>) -> Vec<WatchedHost> {
        Vec::new()
    }

    fn checks(&self) -> BTreeMap<HostName, Vec<CheckId>> {
        BTreeMap::new()
    }
}

fn downtime() -> Downtime {
    Downtime {
        id: 0,
        by: "ann".into(),
        key: "k".into(),
        why: "new racks".into(),
        selector: "all".into(),
        hosts: vec!["web01".into()],
        of: Covered::All,
        from: Timestamp::UNIX_EPOCH,
        until: Timestamp::MAX,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_that_fails_inside_starts_again_and_says_so() {
    let site = Site::start(1).await;
    let fails = Arc::new(AtomicBool::new(false));
    let config = watch::Sender::new(Arc::new(Failing { fails: fails.clone() }));
    let held = watch::Sender::new(HeldHosts::default());
    let reported = Arc::new(AtomicU64::new(0));
    let counter = reported.clone();
    let around = MonitorEnvironment {
        ports: ports_of(&site),
        watches: Arc::new(SqliteStore::in_memory().unwrap()),
        config: config.subscribe(),
        in_hand: held.subscribe(),
        probes: true,
        bell: Arc::new(|| {}),
        failed: Arc::new(move || _ = counter.fetch_add(1, Ordering::Relaxed)),
    };
    let (monitor, asked) = watching::prepare();
    let running = watching::start(around, asked).await.unwrap();
    monitor.begin_downtime(downtime()).await.unwrap();

    fails.store(true, Ordering::Relaxed);
    config.send(Arc::new(Failing { fails })).unwrap();
    eventually("the failure is reported", async || reported.load(Ordering::Relaxed) == 1).await;

    // What was stored is in force again.
    eventually("it watches again", async || monitor.roll().await.is_ok()).await;
    let downtimes = monitor.downtimes().await.unwrap();
    assert_eq!(downtimes.iter().map(|downtime| downtime.why.as_str()).collect::<Vec<_>>(), ["new racks"]);
    assert_eq!(reported.load(Ordering::Relaxed), 1);
    running.stop().await;
    let gone = monitor.roll().await.unwrap_err().to_string();
    assert!(gone.contains("rollcall is stopping and watches nothing"), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_get_one_message_that_watching_failed() {
    let mut site = Site::without_daemon(1).await;
    let mailbox = site.dir.path().join("mailbox");
    let settings = site.config.join("rollcall.toml");
    let channel = format!("[[notify]]\nname = \"duty\"\ncommand = \"cat >>{}\"\n", mailbox.display());
    crate::support::write(&settings, &(crate::support::read(&settings) + &channel));
    site.start_daemon().await;
    let tell = &site.daemon.as_ref().unwrap().desk.tell;
    tell.watching_failed();
    tell.watching_failed();
    let text = || std::fs::read_to_string(&mailbox).unwrap_or_default();
    eventually("the message is delivered", async || text().contains("Watching failed inside rollcall")).await;
    site.ask("notify list").await.expect(0);
    assert_eq!(text().matches("Watching failed inside rollcall").count(), 1, "{}", text());
}
