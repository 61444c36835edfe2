//! A script of `files/`, run by an interpreter on the host: it is sent to a file there first, run like any other
//! command, and removed.

use std::sync::LazyLock;

use crate::domain::base::outcome::Outcome;
use crate::domain::task::task::StepBody;
use crate::domain::value::shell;
use crate::script;
use crate::steps::attempt::{Attempt, Done};
use crate::steps::wrapper::PLACE;

/// Receives the script. The arguments are the site, the name of the folder and the SHA-256.
static SEND: LazyLock<String> = LazyLock::new(|| {
    let receive = r#"
site=$1
find_place || { printf '%s\n' "no place for the script: $why" >&2; exit 1; }
umask 077
mkdir -p "$place/ops/$2" && cat >"$place/ops/$2/script" || exit
if command -v sha256sum >/dev/null; then got=$(sha256sum <"$place/ops/$2/script"); else got=$(shasum -a 256 <"$place/ops/$2/script"); fi
[ "${got%% *}" = "$3" ] || { echo "the script did not arrive whole: received ${got%% *}, wanted $3" >&2; exit 1; }
"#;
    format!("{PLACE}{receive}")
});

/// Runs the script. The arguments are the site, the name of the folder, the interpreter, and those of the script.
static RUN: LazyLock<String> = LazyLock::new(|| {
    let run = r#"
site=$1 name=$2 interpreter=$3
shift 3
find_place || { printf '%s\n' "no place for the script: $why" >&2; exit 1; }
script=$place/ops/$name
trap 'rm -rf "$script"' EXIT
trap 'exit 143' HUP INT TERM
command -v "$interpreter" >/dev/null 2>&1 || {
printf '%s\n' "$interpreter is not on the host, or not in its PATH ($PATH); install it, or name another interpreter" >&2
exit 127
}
case $interpreter in *sh)
if head -n 1 "$script/script" | grep -q "$(printf '\r')\$"; then
echo "the lines of the script end with a carriage return, which $interpreter takes for a part of their last word; try: dos2unix on the file" >&2
exit 65
fi ;;
esac
"$interpreter" "$script/script" "$@"
"#;
    format!("{PLACE}{run}")
});

impl Attempt<'_> {
    /// A separate folder beside the wrapper's; a sweep removes a leftover one with them.
    fn script_folder(&self) -> String {
        format!("{}.script", self.kept_as())
    }

    /// The command that the wrapper runs.
    pub(super) fn script_call(&self, interpreter: &str, args: &[String]) -> String {
        let folder = self.script_folder();
        let first = [self.context.ports.site.as_str(), &folder, interpreter];
        let arguments: Vec<&str> = first.into_iter().chain(args.iter().map(String::as_str)).collect();
        script::in_place(self.step, &shell::with_arguments(&RUN, &arguments))
    }

    /// Sends the script, if the step has one. Returns the outcome if that fails: nothing has started then.
    pub async fn send_script(&self) -> Option<Done> {
        let StepBody::Script { source, .. } = &self.step.body else { return None };
        let sent = match self.content(source) {
            Ok(sent) => sent,
            Err(done) => return Some(done),
        };
        let (sha256, input) = (sent.sha256.clone(), sent.input().await);
        let input = match input {
            Ok(input) => input,
            Err(done) => return Some(done),
        };
        let (site, folder) = (&self.context.ports.site, self.script_folder());
        let receive = shell::with_arguments(&SEND, &[site, &folder, &sha256]);
        let (report, _) = self.exec(receive, input, self.step.timeout).await;
        let done = self.done(report, |_| Outcome::Ok);
        match done.outcome {
            Outcome::Ok => None,
            // Only the transfer was lost.
            Outcome::Lost { why } => Some(Done { outcome: Outcome::NotStarted { why }, ..done }),
            _ => Some(done),
        }
    }
}
