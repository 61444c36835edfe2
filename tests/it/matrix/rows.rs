//! The abort matrix as a table: what the tests do and assert, and what `docs/abort-matrix.md` shows.

/// What stands in front of the hosts.
#[derive(Clone, Copy, PartialEq)]
pub enum Front {
    Haproxy,
    Nginx,
}

/// What becomes of the hosts in batches after the one with the trouble.
#[derive(Clone, Copy, PartialEq)]
pub enum Later {
    /// No file on any of them is touched.
    Untouched,
    /// They are released: the task says so.
    GoOn,
    /// There are none.
    None,
}

/// One row.
#[derive(Clone, Copy)]
pub struct Row {
    pub id: &'static str,
    pub trouble: &'static str,
    /// What others were measured to do.
    pub peers: &'static str,
    /// The lines of `[rollout]`.
    pub setting: &'static str,
    /// The balancer's `min_in_service`, where it has one.
    pub floor: &'static str,
    pub front: Front,
    pub hosts: usize,
    pub batch: usize,
    /// Hosts at most that are out at the same time, those that are held among them.
    pub most: usize,
    pub fails: &'static [&'static str],
    /// From the start on.
    pub unreachable: &'static [&'static str],
    /// Out of rotation afterwards: a debt each. None of them is well.
    pub out: &'static [&'static str],
    pub later: Later,
    /// Of the plain ssh client.
    pub exit: i32,
    pub test: &'static str,
}

/// What most of Ansible's rows have in common.
const TEN: Row = Row {
    id: "",
    trouble: "",
    peers: "",
    setting: "",
    floor: "",
    front: Front::Haproxy,
    hosts: 10,
    batch: 3,
    most: 3,
    fails: &[],
    unreachable: &[],
    out: &[],
    later: Later::Untouched,
    exit: 0,
    test: "",
};

const FOUR: Row = Row { hosts: 4, batch: 4, later: Later::None, ..TEN };

/// All of them.
pub const ROWS: &[Row] = &[
    Row {
        id: "A1",
        trouble: "1 of 10 hosts fails, and the others must continue",
        peers: "Ansible, `serial: 3`: 1 left out; continues with all later batches; exit 2",
        setting: "serial = 3\non_failure = \"continue\"",
        most: 4,
        fails: &["web02"],
        out: &["web02"],
        later: Later::GoOn,
        exit: 3,
        test: "a1_one_host_fails_and_the_others_go_on",
        ..TEN
    },
    Row {
        id: "A2",
        trouble: "1 of 3 in a batch fails, which exceeds the budget",
        peers: "Ansible, `max_fail_percentage: 33`: 3 stranded, 2 of them healthy and on the new release; exit 2",
        setting: "serial = 3\nmax_failures = \"9%\"\non_failure = \"stop\"",
        fails: &["web02"],
        out: &["web02"],
        exit: 3,
        test: "a2_one_host_too_many_fails_and_the_others_of_its_batch_finish",
        ..TEN
    },
    Row {
        id: "A3",
        trouble: "1 of 3 in a batch fails, within the budget",
        peers: "Ansible, `max_fail_percentage: 34`: 1 left out; continues with all later batches; exit 2",
        setting: "serial = 3\nmax_failures = \"10%\"\non_failure = \"stop\"",
        most: 4,
        fails: &["web02"],
        out: &["web02"],
        later: Later::GoOn,
        exit: 3,
        test: "a3_one_host_fails_and_one_may",
        ..TEN
    },
    Row {
        id: "A4",
        trouble: "1 of 3 in a batch is unreachable, with a budget of 0",
        peers: "Ansible, `max_fail_percentage: 0`: 1 left out, not counted; continues with all later batches; exit 4",
        setting: "serial = 3\nmax_failures = 0\non_failure = \"stop\"",
        unreachable: &["web02"],
        exit: 4,
        test: "a4_an_unreachable_host_counts",
        ..TEN
    },
    Row {
        id: "A5",
        trouble: "1 fails and 1 is unreachable, which together exceed the budget",
        peers: "Ansible, `max_fail_percentage: 0`: 3 stranded, 1 of them healthy; continues with all later batches; exit 4",
        setting: "serial = 3\nmax_failures = 1\non_failure = \"stop\"",
        fails: &["web03"],
        unreachable: &["web02"],
        out: &["web03"],
        exit: 3,
        test: "a5_a_failed_and_an_unreachable_host_count_together",
        ..TEN
    },
    Row {
        id: "A6",
        trouble: "1 of 3 is unreachable, and any error is fatal",
        peers: "Ansible, `any_errors_fatal`: 3 stranded, 2 of them healthy; continues with all later batches; exit 4",
        setting: "serial = 3\nmax_failures = 0\non_failure = \"rollback\"",
        unreachable: &["web02"],
        exit: 4,
        test: "a6_an_unreachable_host_is_fatal",
        ..TEN
    },
    Row {
        id: "A7",
        trouble: "1 is unreachable, one host at a time, and any error is fatal",
        peers: "Ansible, `serial: 1`, `any_errors_fatal`: 1 left out; continues with every further host; exit 4",
        setting: "serial = 1\nmax_failures = 0\non_failure = \"stop\"",
        batch: 1,
        most: 1,
        unreachable: &["web02"],
        exit: 4,
        test: "a7_an_unreachable_host_is_fatal_one_host_at_a_time",
        ..TEN
    },
    Row {
        id: "A8",
        trouble: "1 of 2 in a batch fails, and any error is fatal",
        peers: "Ansible, `serial: 2`, `any_errors_fatal`: 2 stranded, 1 of them healthy; exit 2",
        setting: "serial = 2\nmax_failures = 0\non_failure = \"stop\"",
        batch: 2,
        most: 2,
        fails: &["web01"],
        out: &["web01"],
        exit: 3,
        test: "a8_a_failed_host_is_fatal_and_the_other_of_its_batch_finishes",
        ..TEN
    },
    Row {
        id: "A9",
        trouble: "1 fails while the hosts of a batch proceed independently",
        peers: "Ansible, `strategy: free`: 1 left out; ignores both limits and continues with all later batches; exit 2",
        setting: "serial = 3\nmax_failures = 0\non_failure = \"rollback\"",
        front: Front::Nginx,
        fails: &["web02"],
        exit: 2,
        test: "a9_hosts_at_their_own_pace_are_stopped_all_the_same",
        ..TEN
    },
    Row {
        id: "A10",
        trouble: "1 is unreachable, the others continue, and every failure must be undone",
        peers: "Ansible, `block` with `always`: 1 left out, `always` is skipped for it; continues with all later batches; exit 4",
        setting: "serial = 3\nmax_failures = 1\non_failure = \"rollback\"",
        unreachable: &["web02"],
        later: Later::GoOn,
        exit: 4,
        test: "a10_an_unreachable_host_is_not_taken_out_and_the_others_go_on",
        ..TEN
    },
    Row {
        id: "A11a",
        trouble: "the operator's client gets SIGINT, SIGHUP or SIGTERM during the run",
        peers: "Ansible, `block` with `always`: the whole batch stranded; exit 99, or killed by 1 or 15",
        setting: "serial = 3",
        hosts: 4,
        later: Later::GoOn,
        test: "a11_the_client_is_ended_by_a_signal_and_the_run_goes_on",
        ..TEN
    },
    Row {
        id: "A11b",
        trouble: "the daemon gets SIGINT, SIGHUP or SIGTERM during the run",
        peers: "no equivalent: the client is the controller",
        setting: "serial = 3",
        hosts: 4,
        later: Later::GoOn,
        test: "a11_the_daemon_gets_a_signal_and_leaves_nobody_out",
        ..TEN
    },
    Row {
        id: "P1",
        trouble: "1 of 4 fails, and all hosts are deployed at the same time",
        peers: "pyinfra: all 4 out at the same time, 1 left out; exit 1",
        setting: "serial = \"100%\"\nmax_failures = \"100%\"\non_failure = \"rollback\"",
        floor: "75%",
        most: 1,
        fails: &["web02"],
        exit: 2,
        test: "p1_all_at_once_takes_out_what_the_floor_allows",
        ..FOUR
    },
    Row {
        id: "P2",
        trouble: "1 of 4 fails, all are deployed at the same time, with a budget of 0",
        peers: "pyinfra, `--fail-percent 0`: 4 of 4 stranded; exit 1",
        setting: "serial = \"100%\"\nmax_failures = 0\non_failure = \"stop\"",
        fails: &["web02"],
        out: &["web02"],
        exit: 3,
        test: "p2_all_at_once_and_none_may_fail",
        ..FOUR
    },
    Row {
        id: "P3",
        trouble: "1 of 4 fails, one host at a time, with a budget of 0",
        peers: "pyinfra, `--serial --fail-percent 0`: 1 left out, in random order; exit 1",
        setting: "serial = 1\nmax_failures = 0\non_failure = \"stop\"",
        front: Front::Nginx,
        batch: 1,
        most: 1,
        fails: &["web02"],
        out: &["web02"],
        later: Later::Untouched,
        exit: 3,
        test: "p3_one_at_a_time_in_the_order_of_the_plan",
        ..FOUR
    },
    Row {
        id: "F1",
        trouble: "the second of 3 hosts fails, and the run must stop",
        peers: "Fabric, `fab -H a,b,c disable deploy enable`: 3 of 3 stranded; exit 1 without a message",
        setting: "serial = 1\non_failure = \"rollback\"",
        front: Front::Nginx,
        hosts: 3,
        batch: 1,
        most: 1,
        fails: &["web02"],
        later: Later::Untouched,
        exit: 2,
        test: "f1_the_second_host_fails_and_the_third_is_not_begun",
        ..FOUR
    },
    Row {
        id: "F2",
        trouble: "the second of 2 hosts fails, and failures count as warnings",
        peers: "Fabric, `fab -w`: the failed host is put back into rotation; exit 0 without a message",
        setting: "serial = 1\non_failure = \"continue\"",
        front: Front::Nginx,
        hosts: 2,
        batch: 1,
        most: 1,
        fails: &["web02"],
        out: &["web02"],
        exit: 3,
        test: "f2_a_failed_host_does_not_serve_whoever_goes_on",
        ..FOUR
    },
    Row {
        id: "C1",
        trouble: "2 of 5 fail in a command without a balancer",
        peers: "clush: exit 0, unless `-S`",
        setting: "",
        hosts: 5,
        batch: 5,
        most: 0,
        fails: &["web02", "web04"],
        exit: 2,
        test: "c1_a_command_that_fails_somewhere_is_no_success",
        ..FOUR
    },
    Row {
        id: "U1",
        trouble: "contact is lost during a step, and returns",
        peers: "not measured",
        setting: "serial = 3",
        hosts: 4,
        later: Later::GoOn,
        test: "u1_contact_that_comes_back_changes_nothing",
        ..TEN
    },
    Row {
        id: "U2",
        trouble: "contact is lost during a step, and does not return",
        peers: "not measured; Ansible's `always` is skipped (A10)",
        setting: "serial = 1",
        hosts: 4,
        batch: 1,
        most: 1,
        out: &["web01"],
        exit: 3,
        test: "u2_what_became_of_a_host_is_not_known_and_it_stays_out",
        ..TEN
    },
];

/// The row of this name.
pub fn row(id: &str) -> &'static Row {
    ROWS.iter().find(|row| row.id == id).expect("a row of the matrix")
}

/// The lines of the table in `docs/abort-matrix.md`.
pub fn table() -> String {
    let head = "| | failure | measured with other tools | rollcall, with | stranded | out on purpose | out at the same \
                time, at most | later batches | exit | test |\n|---|---|---|---|---|---|---|---|---|---|\n";
    head.to_string() + &ROWS.iter().map(line).collect::<String>()
}

fn line(row: &Row) -> String {
    let settings = row.setting.lines().map(String::from);
    let floor = (!row.floor.is_empty()).then(|| format!("min_in_service = \"{}\"", row.floor));
    let settings: Vec<String> = settings.chain(floor).map(|line| format!("`{line}`")).collect();
    let later = match row.later {
        Later::Untouched => "not touched",
        Later::GoOn => "released, as configured",
        Later::None => "-",
    };
    let none_or = |text: String| if text.is_empty() { "none".to_string() } else { text };
    format!(
        "| {} | {} | {} | {} | none | {} | {} of {} | {later} | {} | `{}` |\n",
        row.id,
        row.trouble,
        row.peers,
        none_or(settings.join(", ")),
        none_or(row.out.join(", ")),
        row.most,
        row.hosts,
        row.exit,
        row.test,
    )
}
