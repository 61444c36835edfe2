//! Any balancer whose health check reads a file on the host: the file alone drains the host, and rollcall needs
//! no access to the balancer. How long the balancer takes to notice is configured.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;

use super::ask::exec;
use super::together::{self, Applied, OneHost};
use crate::domain::base::name::HostName;
use crate::domain::inventory::inventory::{Balancer, Endpoint, HealthFile, Present};
use crate::domain::inventory::rotation::{BalancerView, HostRotation, Rotation};
use crate::domain::run::event::Change;
use crate::domain::value::shell;
use crate::port::{ExecEnd, Input, Member, Remote};

/// The time limit of reading or changing the file.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Reads the file, or changes it: `$1` path, `$2` `in` or `out` by presence, `$3` `inspect`, `drain` or
/// `enable`. The last line says what was found before: `in`, `ours` (drained by rollcall) or `others` (drained by
/// others).
///
/// A file whose presence means "in" is moved aside, with its content, to a name that identifies
/// rollcall. A flag whose presence means "out" has a line that does. Either is one rename.
pub const FILE: &str = r#"
path=$1 present=$2 verb=$3 aside=$1.rollcall-out mark='rollcall took this host out'
if [ "$present" = in ]; then
  if [ -e "$path" ]; then found=in
  elif [ -e "$aside" ]; then found=ours
  else found=others; fi
else
  if [ ! -e "$path" ]; then found=in
  elif grep -qxF "$mark" "$path"; then found=ours
  else found=others; fi
fi
case $verb/$found/$present in
  drain/in/in) mv -f "$path" "$aside" || exit 1 ;;
  drain/in/out) echo "$mark" >"$path.rollcall-new" && mv -f "$path.rollcall-new" "$path" || exit 1 ;;
  enable/ours/in) mv -f "$aside" "$path" || exit 1 ;;
  enable/in/in) rm -f "$aside" || exit 1 ;;
  enable/ours/out) rm -f "$path" || exit 1 ;;
esac
echo "$found"
"#;

/// The driver for health files.
pub struct FileDriver {
    remote: Arc<dyn Remote>,
}

/// One change of the files of one group.
struct OnFile<'a> {
    remote: &'a dyn Remote,
    file: &'a HealthFile,
}

impl FileDriver {
    /// A driver that reaches hosts through `remote`.
    pub fn new(remote: Arc<dyn Remote>) -> FileDriver {
        FileDriver { remote }
    }

    fn on<'a>(&'a self, file: &'a HealthFile) -> OnFile<'a> {
        OnFile { remote: &*self.remote, file }
    }

    /// The files of the whole group: there is no balancer to count its servers. A host that
    /// cannot be queried does not count as serving.
    pub async fn inspect(&self, balancer: &Balancer, file: &HealthFile, members: &[Member]) -> BalancerView {
        let one = self.on(file);
        let paths: BTreeMap<&str, &str> = balancer
            .members
            .iter()
            .map(|(host, path)| (host.as_str(), path.as_str()))
            .chain(members.iter().map(|member| (member.host.as_str(), member.seat.server.as_str())))
            .collect();
        let inspections = balancer.on.iter().filter_map(|host| {
            let path = *paths.get(host.name.as_str())?;
            Some(async { (host.name.clone(), one.seen(host, path).await) })
        });
        let hosts: BTreeMap<HostName, HostRotation> = join_all(inspections).await.into_iter().collect();
        let serving = hosts.values().filter(|seen| seen.rotation == Rotation::In).count();
        BalancerView { serving, total: hosts.len(), hosts, missing: BTreeMap::new() }
    }

    /// Removes the files of members, or creates flags.
    pub async fn drain(&self, balancer: &Balancer, file: &HealthFile, members: &[Member]) -> Change {
        let view = self.inspect(balancer, file, members).await;
        together::drain(&self.on(file), balancer, &view, members).await
    }

    /// Puts members back that were drained for nothing.
    pub async fn put_back(&self, balancer: &Balancer, file: &HealthFile, members: &[Member]) -> Change {
        together::put_back(&self.on(file), balancer, members).await
    }

    /// Restores the files, or removes flags.
    pub async fn enable(&self, balancer: &Balancer, file: &HealthFile, members: &[Member]) -> Change {
        together::enable(&self.on(file), balancer, members).await
    }
}

/// The state of a file before the change.
#[derive(Clone, Copy, PartialEq)]
enum FileState {
    In,
    Ours,
    Others,
}

impl OnFile<'_> {
    async fn ask(&self, host: &Endpoint, path: &str, verb: &str) -> Result<FileState, (String, bool)> {
        let present = match self.file.present {
            Present::In => "in",
            Present::Out => "out",
        };
        let script = shell::with_arguments(FILE, &[path, present, verb]);
        let report = exec(self.remote, host, &script, self.file.sudo, Input::None, TIMEOUT).await;
        let nothing_done = matches!(report.end, ExecEnd::NotStarted(_) | ExecEnd::Exited(_));
        match (&report.end, report.stdout.last_line()) {
            (ExecEnd::Exited(0), "in") => Ok(FileState::In),
            (ExecEnd::Exited(0), "ours") => Ok(FileState::Ours),
            (ExecEnd::Exited(0), "others") => Ok(FileState::Others),
            (end, _) => {
                let why = end.describe(&report.stderr);
                Err((format!("{}: {path}: {why}", host.name), nothing_done))
            }
        }
    }

    async fn seen(&self, host: &Endpoint, path: &str) -> HostRotation {
        let (rotation, note) = match self.ask(host, path, "inspect").await {
            Ok(FileState::In) => (Rotation::In, format!("{path} says so; the balancer was not asked")),
            Ok(FileState::Ours) => (Rotation::Out, format!("{path}: taken out by rollcall")),
            Ok(FileState::Others) => (Rotation::Out, format!("{path}: taken out by another process")),
            Err((why, _)) => (Rotation::Unknown, why),
        };
        HostRotation { rotation, note }
    }

    async fn change(&self, host: &Endpoint, members: &[Member], verb: &str) -> Applied {
        let (mut foreign, mut already) = (Vec::new(), Vec::new());
        for member in members {
            match self.ask(host, &member.seat.server, verb).await {
                Ok(FileState::Others) => foreign.push(member.host.clone()),
                Ok(FileState::Ours) => already.push(member.host.clone()),
                Ok(FileState::In) => {}
                Err((why, true)) => return Applied::Refused(why),
                Err((why, false)) => return Applied::Unknown(why),
            }
        }
        // Even if nothing changed: an interrupted run may have changed the file a moment ago.
        if foreign.len() < members.len() {
            tokio::time::sleep(self.file.settle).await;
        }
        Applied::Done { foreign, already, note: None }
    }
}

#[async_trait]
impl OneHost for OnFile<'_> {
    async fn inspect(
        &self,
        host: &Endpoint,
        members: &[Member],
    ) -> Result<Vec<(String, BalancerView)>, String> {
        let mut view = BalancerView::default();
        for member in members.iter().filter(|member| self.concerns(host, member)) {
            view.hosts.insert(member.host.clone(), self.seen(host, &member.seat.server).await);
        }
        Ok(vec![(host.name.to_string(), view)])
    }

    async fn drain(&self, host: &Endpoint, members: &[Member]) -> Applied {
        self.change(host, members, "drain").await
    }

    async fn enable(&self, host: &Endpoint, members: &[Member]) -> Applied {
        self.change(host, members, "enable").await
    }

    /// The file is on the host itself.
    fn concerns(&self, host: &Endpoint, member: &Member) -> bool {
        host.name == member.host
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// Runs [`FILE`] under `sh`; returns what it found.
    fn file(path: &Path, present: &str, verb: &str) -> String {
        let arguments = [path.to_str().unwrap(), present, verb];
        let script = shell::with_arguments(FILE, &arguments);
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_string()
    }

    #[test]
    fn a_file_that_means_in_is_moved_aside_and_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("it's up");
        assert_eq!(file(&path, "in", "inspect"), "others");
        assert_eq!(file(&path, "in", "enable"), "others");
        assert!(!path.exists(), "what somebody else took away is left so");
        std::fs::write(&path, "OK\n").unwrap();
        for (verb, found, there) in [
            ("inspect", "in", true),
            ("enable", "in", true),
            ("drain", "in", false),
            ("drain", "ours", false),
            ("inspect", "ours", false),
            ("enable", "ours", true),
            ("inspect", "in", true),
        ] {
            assert_eq!((file(&path, "in", verb).as_str(), path.exists()), (found, there), "{verb}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "OK\n");
        // The application wrote a new one while it was out: the new one is kept, and no other is left behind.
        file(&path, "in", "drain");
        std::fs::write(&path, "NEW\n").unwrap();
        assert_eq!(file(&path, "in", "enable"), "in");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "NEW\n");
    }

    #[test]
    fn a_flag_that_means_out_says_whose_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("maintenance");
        for (verb, found, there) in [
            ("inspect", "in", false),
            ("drain", "in", true),
            ("drain", "ours", true),
            ("enable", "ours", false),
            ("enable", "in", false),
        ] {
            assert_eq!((file(&path, "out", verb).as_str(), path.exists()), (found, there), "{verb}");
        }
        std::fs::write(&path, "bob is at it\n").unwrap();
        for verb in ["inspect", "drain", "enable"] {
            assert_eq!(file(&path, "out", verb), "others");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "bob is at it\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
