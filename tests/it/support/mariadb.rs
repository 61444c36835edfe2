//! A real MariaDB server in a folder of its own, run by the test account, on a UNIX socket and a port of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{as_account, eventually, give_to_account};

/// A running server.
pub struct MariaDb {
    pub socket: PathBuf,
    pub port: u16,
    child: Child,
}

impl MariaDb {
    /// Starts server number `id` in `dir`, with a binary log.
    pub async fn start(dir: &Path, id: u32) -> MariaDb {
        std::fs::create_dir_all(dir).expect("a folder");
        give_to_account(dir);
        let data = dir.join("data");
        let mut install = Command::new("mariadb-install-db");
        install.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
        install.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        install.arg(format!("--tmpdir={}", dir.display())).current_dir(dir);
        as_account(&mut install);
        let made = install.output().expect("mariadb is there; run tests/run, which installs it");
        assert!(made.status.success(), "mariadb-install-db: {made:?}");
        // Given by the system, and free again for a moment: nobody else asks for this very one.
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("one").port();
        let socket = dir.join("sock");
        let mut server = Command::new("mariadbd");
        server.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
        server.arg(format!("--socket={}", socket.display())).arg(format!("--port={port}"));
        server.arg(format!("--server-id={id}")).arg(format!("--pid-file={}", dir.join("pid").display()));
        server.args([
            "--bind-address=127.0.0.1",
            "--log-bin=log",
            "--skip-slave-start",
            "--innodb-buffer-pool-size=8M",
        ]);
        server.stdout(Stdio::null()).stderr(Stdio::null()).current_dir(dir);
        as_account(&mut server);
        let database = MariaDb { child: server.spawn().expect("mariadbd starts"), socket, port };
        eventually("the database answers", async || database.try_ask("SELECT 1").is_some()).await;
        database
    }

    fn try_ask(&self, sql: &str) -> Option<String> {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "-uroot", "-N", "-S"]).arg(&self.socket).args(["-e", sql]);
        client.stderr(Stdio::null());
        let output = client.output().expect("the client is there");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    }

    /// What the database answers.
    pub fn ask(&self, sql: &str) -> String {
        self.try_ask(sql).unwrap_or_else(|| panic!("{sql}"))
    }

    /// Follows `primary` from here on.
    pub fn follow(&self, primary: &MariaDb) {
        primary.ask("GRANT REPLICATION SLAVE ON *.* TO repl@'127.0.0.1' IDENTIFIED BY 'r'");
        self.ask(&format!(
            "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={}, MASTER_USER='repl', MASTER_PASSWORD='r', \
             MASTER_CONNECT_RETRY=1, MASTER_USE_GTID=slave_pos; START SLAVE",
            primary.port
        ));
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        // It is ours, by its id, and it may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
