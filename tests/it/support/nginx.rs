//! A real nginx on a UNIX socket in a folder of its own, run by the test account.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{as_account, eventually, write};

/// A running nginx.
pub struct Nginx {
    pub dir: PathBuf,
    child: Child,
}

impl Nginx {
    /// Starts one in `dir` that balances over `servers`.
    pub async fn start(dir: &Path, servers: &[String]) -> Nginx {
        let nginx = Nginx::with(dir, &balancing(dir, servers));
        let socket = nginx.socket();
        eventually("nginx listens", async || tokio::net::UnixStream::connect(&socket).await.is_ok()).await;
        nginx
    }

    /// Starts one with this inside of its `http` block; it is not waited for.
    pub fn with(dir: &Path, http: &str) -> Nginx {
        std::fs::create_dir_all(dir).expect("a folder");
        super::open_to_all(dir);
        write(&dir.join("nginx.conf"), &config(dir, http));
        super::open_to_all(&dir.join("nginx.conf"));
        let mut command = Command::new("nginx");
        command.args(["-c"]).arg(dir.join("nginx.conf")).arg("-p").arg(dir).stderr(Stdio::null());
        as_account(&mut command);
        let child = command.spawn().expect("nginx is there; run tests/run, which installs it");
        Nginx { dir: dir.to_path_buf(), child }
    }

    /// Where requests go.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("http.sock")
    }

    /// The file that holds the upstream block.
    pub fn config(&self) -> PathBuf {
        self.dir.join("nginx.conf")
    }

    /// Lines of servers that are down or commented out, as they are in the file now.
    pub fn out_of_rotation(&self) -> Vec<String> {
        let text = super::read(&self.config());
        let servers =
            text.lines().map(str::trim).filter(|line| line.trim_start_matches('#').starts_with("server 127"));
        let out = servers.filter(|line| line.starts_with('#') || line.contains(" down;"));
        out.map(|line| line.split_whitespace().nth(1).unwrap_or_default().trim_end_matches(';').to_string())
            .collect()
    }

    /// Puts a server back as a colleague would: in the file, and with a reload.
    pub fn put_back(&self, server: &str) {
        let text = super::read(&self.config());
        let ours = |line: &&str| line.trim().starts_with(&format!("server {server} "));
        let line = text.lines().find(ours).expect("the server's line");
        let restored = line.split(" down;").next().expect("a line").to_string() + ";";
        std::fs::write(self.config(), text.replace(line, &restored)).expect("the file can be written");
        self.reload();
    }

    /// Tells it to read its configuration again.
    pub fn reload(&self) {
        let mut reload = Command::new("nginx");
        reload.args(["-s", "reload", "-c"]).arg(self.config()).arg("-p").arg(&self.dir).stderr(Stdio::null());
        as_account(&mut reload);
        assert!(reload.status().expect("nginx runs").success());
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn config(dir: &Path, http: &str) -> String {
    let dir = dir.display();
    format!(
        "daemon off;\nworker_processes 2;\npid {dir}/nginx.pid;\nerror_log {dir}/error.log;\n\
         events {{ worker_connections 512; }}\n\
         http {{\n  access_log off;\n  client_body_temp_path {dir}/body;\n  proxy_temp_path {dir}/proxy;\n\
         \x20 fastcgi_temp_path {dir}/fastcgi;\n  uwsgi_temp_path {dir}/uwsgi;\n  scgi_temp_path {dir}/scgi;\n\
         {http}}}\n"
    )
}

fn balancing(dir: &Path, servers: &[String]) -> String {
    let servers: String =
        servers.iter().map(|server| format!("    server {server} max_fails=0;\n")).collect();
    let dir = dir.display();
    format!(
        "\x20 upstream app {{\n{servers}  }}\n\
         \x20 server {{\n    listen unix:{dir}/http.sock;\n    location / {{\n      proxy_pass http://app;\n\
         \x20     proxy_next_upstream off;\n    }}\n  }}\n"
    )
}
