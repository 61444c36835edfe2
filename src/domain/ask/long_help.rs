//! What the help of a command says below its options.

pub const AFTER_HELP: &str = "\
Every task is a command:
  TASK SELECTOR [NAME=VALUE...]           ssh rollcall deploy prod version=1.4.2
  help TASK                               what it takes and does
Selectors: prod  prod.web  web03  web[01-20]  'web:&prod:!web03'  @canary  'we*'  'web[0:4]'
Quote what your own shell would read; ssh joins its words with spaces.
A closed connection detaches: the run continues. `watch N` follows it again, `cancel N` stops it.
Exit status of runs: 0 done, 2 failed and safe, 3 a person is needed, 4 unreachable hosts only,
5 another run or operator is working on it, 6 cancelled; of checks: 0 ok, 1 warning, 2 critical, 3 unknown;
64 usage, 69 a rule or the present state forbids it, 77 not allowed, 1 internal error, 130 the run continues
without you: you pressed Ctrl-C, or rollcall stops.";

pub const RUN_HELP: &str = "\
Output of one host is printed as it comes, that of several hosts as `web01: line`. Control characters are
escaped, so binary output is changed: a step `download` copies files. A client that reads too slowly misses a
part, and gets exit status 2. Standard input goes to all hosts (at most 8 MiB; `ssh -n` sends none); from a terminal (`ssh -t`) none is sent.
--script: the script has at most 256 KiB, leaves no file on the host, and reads no standard input.
When the connection closes, the commands continue (unless their input was cut off): `watch N` and `show N` have their output, and
`cancel N --now` stops them. On a terminal (`ssh -t`), Ctrl-C says so, and a second Ctrl-C stops them.
Exit status: 0 ok on all hosts, 2 a command failed, 3 an outcome is unknown, 4 unreachable hosts only,
6 cancelled, 130 you left and the commands continue.";

pub const EVENTS_HELP: &str = "\
Every object has a `schema`. `event`: `seq` is its number, which lasts over restarts; to go on after a break: --since SEQ.
`heartbeat`, every 15 seconds without an event: `seq` is the newest number. `gap`: the journal does not have the number
of --since, since the store was restored from a copy; events follow from its newest one. A `gap` with `oldest`: [retention]
has removed older events. Events of hosts that you may not see are left out. Fields may be added to each object.";

pub const AUDIT_HELP: &str = "\
Without --since, the newest rows. Rows are never changed, and removed only by [retention]; each has the hash of the row before, and `audit verify`
computes them all again. Admins without groups read all rows, others read their own. A command that changes anything
is on record before it acts. Types: login, login-refused, logins-left-out, command, command-refused, command-ended,
config-changed, host-key, enrolled, rows-removed. docs/audit.md has more.";

pub const RECEIPT_HELP: &str = "\
The record has the same bytes whenever it is printed. To keep and check the one of run 41:
  ssh rollcall receipt 41 > 41.receipt
  ssh rollcall receipt 41 --signature > 41.receipt.sig
  ssh rollcall receipt --allowed-signers > signers
  ssh-keygen -Y verify -f signers -I rollcall -n rollcall-receipt -s 41.receipt.sig < 41.receipt
docs/audit.md has more.";

pub const FREEZE_HELP: &str = "\
A freeze refuses tasks and rollbacks, also those of the operator who ordered it. Runs that have started go on; checks,
`run`, `balancer drain` and `balancer enable` work. The configuration may have freezes, too: [[freeze]] in rollcall.toml.
To release all the same, with the approval of a second person: TASK SELECTOR ... --break-glass because REASON";

pub const HOLD_HELP: &str = "\
The line `hold N: ...` says that the hosts are yours. They stay yours until the connection ends: by Ctrl-C, by a client
that is killed, by a network that is cut (found out within 15 seconds), or when rollcall stops. Your own runs may use them.
Exit status: 0 you ended it, 5 the hosts are in use, or the hold was ended by another operator or because
rollcall stops.";
