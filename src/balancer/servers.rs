//! The servers of a backend as HAProxy reports them, and their states. Pure; the tests contain
//! answers of a real HAProxy 2.6.

use std::collections::BTreeMap;

use crate::domain::base::name::{HostName, nearest};
use crate::domain::inventory::rotation::{BalancerView, HostRotation, Rotation};

/// Drained by `state drain`.
const FORCED_DRAIN: u32 = 0x08;

/// Every administrative state of being out: maintenance and drain, forced, inherited, or by a name that
/// does not resolve. 0x04 (the file had `disabled`) is left out: it stays after `state ready`.
const OUT: u32 = 0x3b;

/// A check, of health or by an agent, is configured, and is not switched off.
const CHECKED: u32 = 0x06;

/// Names of servers that a message lists.
const NAMES_SHOWN: usize = 12;

/// One server of the backend.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Server {
    /// 0 stopped, 1 starting, 2 running, 3 stopping.
    op: u32,
    admin: u32,
    check_state: u32,
    weight: u32,
    backup: bool,
    /// `UP`, `UP 1/2`, `DOWN`, `DRAIN`, `MAINT`, `no check`, ...
    status: String,
    sessions: u64,
    queued: u64,
    /// `L7OK`, `L4CON`, ...; empty without a check.
    check: String,
    /// Sessions that it ever got.
    started: u64,
    /// Clients with its cookie are sent to it even while it is drained.
    cookie: bool,
    /// An agent on the server may change its administrative state.
    agent: bool,
}

/// The servers of the backend, by name.
pub type Servers = BTreeMap<String, Server>;

impl Server {
    /// Out by an administrative change, or by a server that this one tracks.
    pub fn is_out(&self) -> bool {
        self.admin & OUT != 0
    }

    /// Out only by `state drain`: the one state that rollcall may end.
    pub fn is_drained_only(&self) -> bool {
        self.admin & OUT == FORCED_DRAIN
    }

    /// Out by a state that rollcall must not end.
    pub fn is_others(&self) -> bool {
        self.is_out() && !self.is_drained_only()
    }

    /// HAProxy checks it, so that its reported health means something.
    pub fn is_checked(&self) -> bool {
        self.check_state & CHECKED == CHECKED
    }

    /// It has no requests, and none wait for it.
    pub fn is_quiet(&self) -> bool {
        self.in_flight() == 0
    }

    /// Its requests, and those that wait for it.
    pub fn in_flight(&self) -> u64 {
        self.sessions + self.queued
    }

    /// Sessions that it ever got.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// Requests may come to it while it is drained: by a cookie, or because its agent ends the drain.
    pub fn is_doubtful_when_drained(&self) -> bool {
        self.cookie || self.agent
    }

    /// An agent on the server may change its administrative state.
    pub fn has_agent(&self) -> bool {
        self.agent
    }

    /// Drained, and its check passes; a server without a check always counts as well.
    pub fn is_well_while_drained(&self) -> bool {
        !self.is_checked() || (self.op != 0 && matches!(self.status.as_str(), "DRAIN" | "DRAIN (agent)"))
    }

    /// Certainly in rotation. `UP 1/2` is not: HAProxy sends requests there before its check has passed.
    pub fn is_up(&self) -> bool {
        let running = matches!(self.op, 1 | 2);
        !self.is_out() && running && matches!(self.status.as_str(), "UP" | "no check")
    }

    /// HAProxy's own words.
    pub fn words(&self) -> String {
        match self.check.trim_start_matches("* ") {
            "" => self.status.clone(),
            check => format!("{} ({check})", self.status),
        }
    }

    /// A colleague or its agent gave it no share of the requests.
    pub fn has_no_weight(&self) -> bool {
        self.weight == 0
    }

    fn is_serving(&self) -> bool {
        self.is_up() && self.weight > 0
    }

    fn seen(&self) -> HostRotation {
        let rotation = match (self.is_out(), self.is_serving()) {
            (true, _) => Rotation::Out,
            (false, true) => Rotation::In,
            (false, false) => Rotation::Down,
        };
        let weight = if self.weight == 0 { ", weight 0" } else { "" };
        let in_flight = match self.in_flight() {
            0 => String::new(),
            requests => format!(", {requests} in flight"),
        };
        HostRotation { rotation, note: format!("{}{weight}{in_flight}", self.words()) }
    }
}

/// The states of the servers `wanted`, and how many serve in all. Backup servers do not count as
/// capacity.
pub fn view<'a>(
    servers: &Servers,
    wanted: impl IntoIterator<Item = (&'a HostName, &'a str)>,
) -> BalancerView {
    let seen = |name: &str| match servers.get(name) {
        Some(server) => server.seen(),
        None => HostRotation { rotation: Rotation::Unknown, note: missing(servers, name) },
    };
    let wanted: Vec<(&HostName, &str)> = wanted.into_iter().collect();
    let gone = wanted.iter().filter(|(_, name)| !servers.contains_key(*name));
    let usual = || servers.values().filter(|server| !server.backup);
    BalancerView {
        missing: gone.map(|(host, name)| ((*host).clone(), missing(servers, name))).collect(),
        hosts: wanted.iter().map(|(host, name)| ((*host).clone(), seen(name))).collect(),
        serving: usual().filter(|server| server.is_serving()).count(),
        total: usual().count(),
    }
}

/// The message that a server does not exist, with the nearest name.
pub fn missing(servers: &Servers, name: &str) -> String {
    let near = nearest(name, servers.keys().map(String::as_str))
        .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    let shown: Vec<&str> = servers.keys().map(String::as_str).take(NAMES_SHOWN).collect();
    let more = if servers.len() > NAMES_SHOWN { ", ..." } else { "" };
    format!("no server is called `{name}` there{near} (servers: {}{more})", shown.join(", "))
}

/// The servers of a backend, from the answers to `show servers state` and `show stat`.
pub fn parse(backend: &str, state: &str, stat: &str) -> Result<Servers, String> {
    let mut servers = Servers::new();
    for row in StatTable::parse(state, ' ')?.rows() {
        let number =
            |column: &str| row.get(column).parse::<u32>().map_err(|_| misread(column, row.get(column)));
        let server = Server {
            op: number("srv_op_state")?,
            admin: number("srv_admin_state")?,
            weight: number("srv_uweight")?,
            check_state: number("srv_check_state")?,
            agent: number("srv_agent_state")? & CHECKED == CHECKED,
            ..Server::default()
        };
        servers.insert(row.get("srv_name").to_string(), server);
    }
    let mut read = 0;
    for row in StatTable::parse(stat, ',')?.rows().filter(|row| row.get("pxname") == backend) {
        let Some(server) = servers.get_mut(row.get("svname")) else { continue };
        let number =
            |column: &str| row.get(column).parse::<u64>().map_err(|_| misread(column, row.get(column)));
        server.status = row.get("status").to_string();
        server.sessions = number("scur")?;
        server.queued = number("qcur")?;
        server.started = number("stot")?;
        server.cookie = !row.get("cookie").is_empty();
        server.backup = row.get("bck") == "1";
        server.check = row.get("check_status").to_string();
        read += 1;
    }
    match read == servers.len() {
        true => Ok(servers),
        false => Err(format!(
            "its answers do not fit together ({read} of {} servers); try again: it may have been reloaded",
            servers.len()
        )),
    }
}

/// The number of the backend, for the query of its statistics: a frontend may have the same name.
pub fn backend_id(state: &str) -> Result<u32, String> {
    let table = StatTable::parse(state, ' ')?;
    let id = table.rows().next().map(|row| row.get("be_id").to_string());
    let id = id.ok_or("the backend has no servers")?;
    id.parse().map_err(|_| misread("be_id", &id))
}

fn misread(column: &str, text: &str) -> String {
    format!("`{text}` in the column {column} is no number; this version of HAProxy is not understood")
}

/// Rows under a header that starts with `# `. Columns are found by name: they move between versions.
struct StatTable<'a> {
    columns: Vec<&'a str>,
    rows: Vec<Vec<&'a str>>,
}

impl<'a> StatTable<'a> {
    /// An answer without a header is an error in HAProxy's own words.
    fn parse(text: &'a str, separator: char) -> Result<StatTable<'a>, String> {
        let mut lines = text.lines().skip_while(|line| !line.starts_with("# "));
        let Some(header) = lines.next() else {
            let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
            return Err(if said.is_empty() { "it said nothing".into() } else { said });
        };
        let split = |line: &'a str| line.split(separator).collect::<Vec<_>>();
        let rows = lines.filter(|line| !line.trim().is_empty()).map(split).collect();
        Ok(StatTable { columns: split(header.trim_start_matches("# ")), rows })
    }

    fn rows(&self) -> impl Iterator<Item = StatRow<'_>> {
        self.rows.iter().map(|cells| StatRow { columns: &self.columns, cells })
    }
}

struct StatRow<'a> {
    columns: &'a [&'a str],
    cells: &'a [&'a str],
}

impl<'a> StatRow<'a> {
    /// Empty if the column or the cell is missing.
    fn get(&self, column: &str) -> &'a str {
        let at = self.columns.iter().position(|name| *name == column);
        at.and_then(|at| self.cells.get(at)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Header and rows as HAProxy 2.6.12 printed them; the statistics are cut behind the 40th column,
    /// as they are on a host that does not forward sockets.
    const STATE: &str = "\
1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port
";
    const STAT: &str = "\
# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx
";

    /// One server: op, admin, check_state of the one answer; status, sessions, check of the other.
    fn server(op: u32, admin: u32, check_state: u32, status: &str, sessions: u64, check: &str) -> Server {
        let state = format!(
            "{STATE}3 app 1 web1 127.0.0.1 {op} {admin} 1 1 1 6 3 3 {check_state} 0 0 0 - 18081 - 0 0 - - 0\n\n"
        );
        let stat = format!(
            "{STAT}app,web1,0,0,{sessions},0,,0,0,0,,0,,0,0,0,0,{status},1,1,0,1,1,1,1,,1,3,1,,0,,2,0,,0,{check},,0,0\n\n"
        );
        parse("app", &state, &stat).unwrap().remove("web1").unwrap()
    }

    #[test]
    fn each_moment_of_the_measured_timeline_is_read_for_what_it_is() {
        // The answer of HAProxy; then: rotation, up, well while drained, may be ended by us.
        let table = [
            ("normal", (2, 0, 6, "UP", 1, "L7OK"), Rotation::In, true, false, false),
            ("without check", (2, 0, 0, "no check", 0, ""), Rotation::In, true, true, false),
            ("slowstart", (1, 0, 6, "UP", 0, "L7OK"), Rotation::In, true, false, false),
            ("just drained", (2, 8, 6, "DRAIN", 1, "L7OK"), Rotation::Out, false, true, true),
            ("app stopped while drained", (0, 8, 6, "DOWN", 0, "L4CON"), Rotation::Out, false, false, true),
            ("its first good check", (0, 8, 6, "DOWN 1/2", 0, "L7OK"), Rotation::Out, false, false, true),
            ("app back while drained", (1, 8, 6, "DRAIN", 0, "L7OK"), Rotation::Out, false, true, true),
            ("drained out of maint", (2, 8, 6, "DRAIN 1/2", 0, "L4OK"), Rotation::Out, false, false, true),
            ("drained without check", (2, 8, 0, "DRAIN", 0, ""), Rotation::Out, false, true, true),
            (
                "ready from drain, app dead",
                (0, 0, 6, "DOWN", 0, "L4CON"),
                Rotation::Down,
                false,
                false,
                false,
            ),
            ("maint", (0, 1, 14, "MAINT", 0, ""), Rotation::Out, false, false, false),
            ("maint on top of drain", (0, 9, 14, "MAINT", 0, ""), Rotation::Out, false, false, false),
            ("disabled in the file", (0, 5, 14, "MAINT", 0, ""), Rotation::Out, false, false, false),
            (
                "ready from maint, app dead",
                (2, 0, 6, "UP 1/2", 0, "L7OK"),
                Rotation::Down,
                false,
                false,
                false,
            ),
            (
                "ready, once disabled in the file",
                (2, 4, 6, "UP", 0, "L7OK"),
                Rotation::In,
                true,
                false,
                false,
            ),
            (
                "drained, once disabled in the file",
                (2, 12, 6, "DRAIN", 0, "L7OK"),
                Rotation::Out,
                false,
                true,
                true,
            ),
            (
                "drained, with an agent",
                (2, 8, 6, "DRAIN (agent)", 0, "L7OK"),
                Rotation::Out,
                false,
                true,
                true,
            ),
            ("404 by its check", (3, 0, 6, "NOLB", 0, "L7OKC"), Rotation::Down, false, false, false),
            ("inherited drain", (2, 16, 6, "DRAIN", 0, "L7OK"), Rotation::Out, false, true, false),
            (
                "its name does not resolve",
                (0, 32, 6, "MAINT (resolution)", 0, ""),
                Rotation::Out,
                false,
                false,
                false,
            ),
        ];
        for (moment, (op, admin, check_state, status, sessions, check), rotation, up, well, ours) in table {
            let server = server(op, admin, check_state, status, sessions, check);
            assert_eq!(server.seen().rotation, rotation, "{moment}");
            assert_eq!(server.is_up(), up, "{moment}");
            assert_eq!(server.is_drained_only(), ours, "{moment}");
            assert_eq!(server.is_well_while_drained(), well, "{moment}");
            assert_eq!(server.is_quiet(), sessions == 0, "{moment}");
        }
    }

    #[test]
    fn a_backend_is_counted_without_its_backups() {
        let state = format!(
            "{STATE}3 app 1 web1 127.0.0.1 2 0 1 1 1 6 3 3 6 0 0 0 - 18081 - 0 0 - - 0\n\
             3 app 2 web2 127.0.0.1 2 0 0 1 2 1 0 2 0 0 0 0 - 18082 - 0 0 - - 0\n\
             3 app 3 spare 127.0.0.1 2 0 1 1 2 6 3 3 6 0 0 0 - 18083 - 0 0 - - 0\n\n"
        );
        let stat = format!(
            "{STAT}app,web1,1,0,2,0,,0,0,0,,0,,0,0,0,0,UP,1,1,0,1,1,1,1,,1,3,1,,0,,2,0,,0,* L7OK,,0,0\n\
             app,web2,0,0,0,0,,0,0,0,,0,,0,0,0,0,no check,0,1,0,,,2,,,1,3,2,,0,,2,0,,0,,,,0\n\
             app,spare,0,0,0,0,,0,0,0,,0,,0,0,0,0,UP,1,0,1,1,1,1,1,,1,3,3,,0,,2,0,,0,L7OK,,0,0\n\n"
        );
        assert_eq!(backend_id(&state), Ok(3));
        let servers = parse("app", &state, &stat).unwrap();
        let hosts = ["a", "b", "c"].map(HostName::from);
        let view = view(&servers, hosts.iter().zip(["web1", "web2", "web9"]));
        assert_eq!((view.serving, view.total), (1, 2));
        let states: Vec<(&str, &str)> =
            view.hosts.values().map(|seen| (seen.rotation.word(), seen.note.as_str())).collect();
        assert_eq!(
            states,
            [
                ("in", "UP (L7OK), 3 in flight"),
                ("down", "no check, weight 0"),
                (
                    "unknown",
                    "no server is called `web9` there; did you mean `web1`? (servers: spare, web1, web2)"
                ),
            ]
        );
    }

    #[test]
    fn what_is_no_answer_is_told_in_haproxys_words() {
        let table = [
            ("Can't find backend.\n\n", "Can't find backend."),
            ("Permission denied\n\n", "Permission denied"),
            ("", "it said nothing"),
        ];
        for (said, wanted) in table {
            assert_eq!(parse("app", said, STAT).unwrap_err(), wanted);
            assert_eq!(backend_id(said).unwrap_err(), wanted);
        }
        assert_eq!(backend_id(STATE).unwrap_err(), "the backend has no servers");
        let row = "3 app 1 web1 127.0.0.1 2 x 1 1 1 6 3 3 6 0 0 0 - 18081 - 0 0 - - 0\n";
        assert!(parse("app", &format!("{STATE}{row}"), STAT).unwrap_err().contains("srv_admin_state"));
        let whole = format!("{STATE}{}", row.replace(" x ", " 0 "));
        assert!(parse("app", &whole, STAT).unwrap_err().contains("0 of 1 servers"));
    }

    proptest::proptest! {
        #[test]
        fn any_answer_is_read_without_trouble(state in "[a-z0-9_ #,\n-]{0,200}", stat in "[a-z0-9_ #,\n-]{0,200}") {
            let _ = parse("app", &format!("# be_id srv_name\n{state}"), &format!("# pxname,svname\n{stat}"));
        }
    }
}
