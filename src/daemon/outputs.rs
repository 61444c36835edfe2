//! Where the output of commands is kept, and for how long.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Settings};
use crate::port::{Clock, Store};
use crate::store::outputs::{OutputFiles, OutputLimits};

/// How often old output is removed. In between, the free space of the disk is the limit.
const PRUNE_EVERY: Duration = Duration::from_secs(10 * 60);

/// The outputs beside the store, within the limits in force.
pub(super) fn outputs(
    settings: &Settings,
    current: watch::Receiver<Arc<Config>>,
) -> Result<Arc<OutputFiles>, String> {
    let limits = move || {
        let output = current.borrow().settings.output;
        OutputLimits { per_operation: output.max_per_operation, total: output.max_total, keep: output.keep }
    };
    let folder = settings.outputs_folder();
    let outputs = OutputFiles::new(&folder, Arc::new(limits));
    outputs.map(Arc::new).map_err(|error| format!("{}: {error}", folder.display()))
}

/// Removes old output until rollcall stops.
pub(super) async fn prune(
    outputs: Arc<OutputFiles>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let mut tick = tokio::time::interval(PRUNE_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        // Without knowing which runs are under way nothing is removed.
        if let Ok(open) = store.open_runs().await {
            outputs.prune(clock.now(), open.into_iter().collect::<BTreeSet<_>>()).await;
        }
    }
}
