//! The keys of `rollcall.toml`; those of `[schedule]` are with the schedule of checks.

use std::time::Duration;

use crate::config::checks::watching::ScheduleKeys;
use crate::config::text::keys::{
    Any, Choice, Choices, Flag, In, KeptTime, ListOf, MapOf, Port, Size, Text, Texts, Time, Whole, Word,
    table, words,
};
use crate::domain::ask::role::Role;
use crate::domain::base::outcome::Verdict;
use crate::domain::notify::channel::{Pace, SmtpTls};
use crate::domain::notify::run_news::RunMoment;

/// The algorithms of the SSH server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Key exchange with X25519 is allowed, too.
    Compat,
    /// Only key exchange that resists quantum computers.
    StrictPq,
}

table! {
    /// The daemon itself. Every value has a default; paths are relative to the configuration directory.
    pub RollcallKeys "Rollcall" {
        /// Where operators connect: an address with a port, or several.
        LISTEN "listen": Texts = &["127.0.0.1:2222"],
        /// The daemon's own SSH key; created at the first start.
        HOST_KEY "host_key": Text = "/var/lib/rollcall/host_key",
        /// The journal, debts, leases and history.
        STORE "store": Text = "/var/lib/rollcall/rollcall.db",
        /// The directory of files that steps download from hosts.
        DOWNLOADS "downloads": Text = "/var/lib/rollcall/downloads",
        /// Whether steps, hooks and vars may run commands on the machine of the daemon. Everyone who may write these files can
        /// then act as rollcall.
        ALLOW_LOCAL "allow_local": Flag = false,
        /// What decrypts age files: a file of `age-keygen`. Default: the systemd credential `age`, if there is one.
        AGE_IDENTITY "age_identity": Text,
        /// `facts` gathers older facts again.
        FACTS_MAX_AGE "facts_max_age": Time = Duration::from_secs(60 * 60),
        /// How long a script in `hosts/` may take.
        INVENTORY_TIMEOUT "inventory_timeout": Time = Duration::from_secs(10),
        /// A command that plans runs a script in `hosts/` again if its output is older.
        INVENTORY_MAX_AGE "inventory_max_age": Time = Duration::from_secs(5 * 60),
        /// The channels of notification, one table each.
        NOTIFY "notify": ListOf<In<NotifyKeys>>,
        /// Times in which nothing is released, one table each.
        FREEZE "freeze": ListOf<In<FreezeKeys>>,
        /// Roles beside viewer, operator and admin, by name: `[roles.ci]`. `role="ci"` in `operators` gives one to a key.
        ROLES "roles": MapOf<In<RoleKeys>>,
        /// Files that operators give to commands: `artifact=-`.
        ARTIFACTS "artifacts": In<ArtifactKeys>,
        /// How much of the output of commands is kept.
        OUTPUT "output": In<OutputKeys>,
        /// How long runs and the audit are kept.
        RETENTION "retention": In<RetentionKeys>,
        /// Limits of the SSH server.
        DOOR "door": In<DoorKeys>,
        /// How hosts are reached.
        FLEET "fleet": In<FleetKeys>,
        /// How checks with `every` or `cron` are probed.
        SCHEDULE "schedule": In<ScheduleKeys>,
    }

    /// Files that are given to commands are kept by their content in `artifacts`, beside the store.
    pub ArtifactKeys "Artifacts" {
        /// The largest file.
        MAX_SIZE "max_size": Size = 2 << 30,
        /// All of them together.
        MAX_TOTAL "max_total": Size = 20 << 30,
        /// How long a file is kept after its last use, unless a run under way or a release on record needs it.
        KEEP "keep": KeptTime = Duration::from_secs(7 * 24 * 60 * 60),
        /// How long a client or server may send nothing.
        IDLE "idle": Time = Duration::from_secs(60),
        /// How long a file may take as a whole, however often something of it arrives.
        MAX_TIME "max_time": Time = Duration::from_secs(60 * 60),
        /// Whether files are fetched from link-local addresses, where clouds have their metadata.
        LINK_LOCAL "link_local": Flag = false,
    }

    /// The whole output of commands on hosts is kept in `outputs`, beside the store. The journal keeps the start and the end of it in any case.
    pub OutputKeys "Output" {
        /// What is kept of one command on one host; the rest is counted.
        MAX_PER_OPERATION "max_per_operation": Size = 64 << 20,
        /// All of it; the oldest runs go first.
        MAX_TOTAL "max_total": Size = 10 << 30,
        /// How long the output of a run is kept.
        KEEP "keep": KeptTime = Duration::from_secs(30 * 24 * 60 * 60),
    }

    /// What is older is removed, once an hour. Without this table everything is kept.
    pub RetentionKeys "Retention" {
        /// How long a run is kept, with its events, after the last of them. At least a day. A run that is under way, or has an open debt, stays,
        /// and so do all later ones.
        RUNS "runs": KeptTime,
        /// How long the rows of the audit are kept. At least a day.
        AUDIT "audit": KeptTime,
    }

    /// Limits of the SSH server for operators. The defaults are for a team; a large site may need more.
    pub DoorKeys "Door" {
        /// `"compat"`: also clients without post-quantum key exchange; `"strict-pq"`: only clients with it, such as OpenSSH 9.9 and
        /// later.
        ALGORITHMS "algorithms": Choice<ProfileWords> = Profile::Compat,
        /// The time for a login, whatever the client sends.
        LOGIN_GRACE "login_grace": Time = Duration::from_secs(20),
        /// Connections that have not logged in.
        WAITING "waiting": Whole<8, 65_536> = 256,
        /// Connections of all operators.
        CONNECTIONS "connections": Whole<8, 65_536> = 1024,
        /// Connections of one operator.
        PER_OPERATOR "per_operator": Whole<1, 65_536> = 128,
        /// New connections of one address in a second, and how many at once. Addresses from which an operator logged in lately are
        /// not limited.
        RATE "rate": Whole<1, 1_000_000> = 10,
        BURST "burst": Whole<1, 1_000_000> = 10,
        /// Whether rollcall prints to the owner of an unknown key how an admin can enroll it. If not, and without a CA in `operators`, unknown
        /// keys are refused before their owner proves them.
        ENROLLMENT "enrollment": Flag = true,
        /// The longest time for which an address is kept out after logins that failed; `"0s"` for never.
        PENALTY "penalty": Time = Duration::from_secs(10 * 60),
    }

    /// A role of one's own. It may do what it lists, and nothing else.
    pub RoleKeys "Role" {
        /// All commands of a built-in role. Default: none.
        INCLUDES "includes": Choice<RoleWords>,
        /// Further commands, in full: `["show", "balancer status"]`.
        COMMANDS "commands": Texts,
        /// The tasks that it may run.
        TASKS "tasks": Texts,
        /// The groups that it may see and act on. Default: all.
        GROUPS "groups": Texts,
        /// When it may do anything: `["Mon-Fri 08:00-18:00"]`. Default: always.
        HOURS "hours": Texts,
        /// Of `hours`. Default: that of `[schedule]`.
        TIME_ZONE "time_zone": Text,
        /// Whether a run that it starts waits until another person approves it.
        NEEDS_APPROVAL "needs_approval": Flag = false,
        /// How long after the login a connection may act; it may read at any time. Default: as long as it lasts.
        FRESH "fresh": Time,
        /// Whether only logins with a security key (`sk-...`) may act. rollcall cannot verify that the key was touched: see
        /// docs/access.md.
        TOUCH "touch": Flag = false,
    }

    /// How hosts are reached.
    pub FleetKeys "Fleet" {
        /// The account on hosts that name none.
        LOGIN "login": Word = "deploy",
        PORT "port": Port = 22,
        /// Private keys, tried in order. A public key is one that the agent signs with: then rollcall offers no other key of the
        /// agent.
        IDENTITY "identity": Texts,
        /// Keys by name, for hosts and groups with `key = "NAME"`: rollcall offers them this key alone. A private key, or a public
        /// one that the agent signs with.
        KEYS "keys": MapOf<Text>,
        /// Socket of an SSH agent.
        AGENT "agent": Text,
        /// A certificate for each connection, so that no long-lived key is on the hosts.
        CERTIFICATES "certificates": In<CertificateKeys>,
        /// OpenSSH format; `host accept` writes here.
        KNOWN_HOSTS "known_hosts": Text = "/var/lib/rollcall/known_hosts",
        /// The most hosts that rollcall works on at the same time.
        PARALLEL "parallel": Whole<1> = 64,
        /// For the connection, the key exchange and the login together.
        CONNECT_TIMEOUT "connect_timeout": Time = Duration::from_secs(10),
        /// Between two keepalives of a connection over which nothing arrives. A host that answers none of four, so for four times
        /// this time, is lost.
        KEEPALIVE "keepalive": Time = Duration::from_secs(5),
        /// How long an unused connection is kept. Default: as long as it lasts.
        IDLE_TIMEOUT "idle_timeout": Time,
    }

    /// rollcall signs a certificate for each connection to a host, with a new key. The hosts trust the CA: `TrustedUserCAKeys`.
    pub CertificateKeys "Certificates" {
        /// The private key of the CA: Ed25519, without a passphrase, readable by rollcall alone.
        CA "ca": Text; needed,
        /// How long a certificate is valid, from a minute before the connection: from one minute to one hour.
        VALID_FOR "valid_for": Time = Duration::from_secs(5 * 60),
        /// Whom it names. Default: the login of the host.
        PRINCIPALS "principals": Texts,
        /// Addresses and networks from which hosts accept it: those of rollcall, and of jump hosts. Default: all.
        SOURCE_ADDRESS "source_address": Texts,
    }

    /// A time in which nothing is released on some hosts: tasks and rollbacks are refused. Operators order others: `freeze`.
    pub FreezeKeys "Freeze" {
        /// A selector.
        HOSTS "hosts": Text; needed,
        /// A day of the week with a time, for every week: `"Fri 16:00"`. Or a date, for once: `"2026-12-20 18:00"`.
        FROM "from": Text; needed,
        /// The same.
        UNTIL "until": Text; needed,
        /// The refusal says why.
        BECAUSE "because": Text; needed,
        /// Of these times: `"Europe/Berlin"`. Default: that of `[schedule]`.
        TIME_ZONE "time_zone": Text,
    }

    /// A channel of notification. It has one of `mail`, `webhook` and `command`.
    pub NotifyKeys "Notify" {
        /// Unique; `notify test NAME` sends a message through it.
        NAME "name": Text; needed,
        MAIL "mail": In<MailKeys>,
        WEBHOOK "webhook": In<WebhookKeys>,
        /// A command on the machine of the daemon: the message is its standard input, the fields are in `ROLLCALL_*`.
        COMMAND "command": Text,
        /// The moments of runs that it sends, beside alerts. Default: none.
        RUNS "runs": Choices<RunMomentWords>,
        /// Which alerts and runs it sends. Default: all.
        ONLY "only": In<OnlyKeys>,
        /// How long to collect problems after the first one, for one message.
        GATHER "gather": Time = Pace::DEFAULT.gather,
        /// The shortest time between two updates about hosts that were already reported; a new host or a worse verdict alerts at
        /// once.
        UPDATE_EVERY "update_every": Time = Pace::DEFAULT.update_every,
        /// The time between reminders while an incident is open and not acknowledged. Default: no reminders.
        REMIND_EVERY "remind_every": Time,
        /// A time of day, in the time zone of `[schedule]`, for a list of open incidents and of those that ended. Default: no digest.
        DIGEST "digest": Text,
        /// For escalation: a problem, or a run that waits, is reported only when it is open and not acknowledged for this long.
        /// Default: at once.
        AFTER "after": Time,
        /// When the channel sends: `["Mon-Fri 08:00-18:00"]`. What is still open when these hours begin is reported then. Default:
        /// always.
        HOURS "hours": Texts,
        /// Of `hours`. Default: that of `[schedule]`.
        TIME_ZONE "time_zone": Text,
        /// A message that could not be delivered for this long is abandoned, and the other channels report that.
        GIVE_UP "give_up": Time = Duration::from_secs(3 * 24 * 60 * 60),
    }

    /// Which alerts and runs a channel sends; an absent key selects all.
    pub OnlyKeys "NotifyOnly" {
        /// With the groups below them: `"prod"`, `"prod.web"`.
        GROUPS "groups": Texts,
        /// Names of checks, bare or as `set/name`; `"reachable"` for the host itself.
        CHECKS "checks": Texts,
        /// Of runs: those of these tasks.
        TASKS "tasks": Texts,
        VERDICTS "verdicts": Choices<VerdictWords>,
    }

    /// By mail.
    pub MailKeys "NotifyMail" {
        FROM "from": Text; needed,
        /// One address, or several.
        TO "to": Texts; needed,
        /// The mail server, as `host` or `host:port`. Default port: 25, and 465 with `tls = "tls"`.
        SMTP "smtp": Text,
        /// `"starttls"` (no mail without it), `"tls"` from the first byte, or `"none"`.
        TLS "tls": Choice<TlsWords> = SmtpTls::Starttls,
        /// Needs `password_file`.
        USER "user": Text,
        /// The file with the password, in one line.
        PASSWORD_FILE "password_file": Text,
        /// Certificates to trust beside the system's: a file in PEM.
        CA "ca": Text,
        /// Instead of a server, and without `smtp`: a command that reads the mail.
        SENDMAIL "sendmail": Text = "/usr/sbin/sendmail -t -i",
    }

    /// By HTTP: JSON, posted.
    pub WebhookKeys "NotifyWebhook" {
        /// This or `url_file`.
        URL "url": Text,
        /// The file with the URL, if it is a secret.
        URL_FILE "url_file": Text,
        /// Further headers.
        HEADERS "headers": MapOf<Text>,
        /// JSON whose texts are templates. Default: `{"text": ...}`, as Slack, Mattermost and others read it.
        BODY "body": Any,
        /// The file with the key that signs the body: `X-Rollcall-Signature: sha256=...`.
        SECRET_FILE "secret_file": Text,
        /// Certificates to trust beside the system's: a file in PEM.
        CA "ca": Text,
    }
}

words! {
    /// How the connection to a mail server is encrypted.
    pub TlsWords: SmtpTls {
        "starttls" = SmtpTls::Starttls,
        "tls" = SmtpTls::Tls,
        "none" = SmtpTls::None,
    }

    /// Moments of a run.
    pub RunMomentWords: RunMoment {
        "started" = RunMoment::Started,
        "waiting for approval" = RunMoment::WaitingForApproval,
        "needs a person" = RunMoment::NeedsPerson,
        "failed" = RunMoment::Failed,
        "done" = RunMoment::Done,
    }

    /// Algorithms of the SSH server.
    pub ProfileWords: Profile {
        "compat" = Profile::Compat,
        "strict-pq" = Profile::StrictPq,
    }

    /// The built-in roles.
    pub RoleWords: Role {
        "viewer" = Role::Viewer,
        "operator" = Role::Operator,
        "admin" = Role::Admin,
    }

    /// Verdicts that alert.
    pub VerdictWords: Verdict {
        "warning" = Verdict::Warning,
        "critical" = Verdict::Critical,
        "unknown" = Verdict::Unknown,
    }
}
