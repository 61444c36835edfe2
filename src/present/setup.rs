//! What an operator's machine needs: a block for ssh_config, a line for known_hosts, and completion for shells.

use jiff::Timestamp;

use crate::domain::ask::ask::Shell;

/// The door as a client reached it.
#[derive(serde::Serialize)]
pub struct ClientSide<'d> {
    /// The name for `ssh NAME`.
    pub alias: &'d str,
    pub host: &'d str,
    pub port: u16,
    pub user: &'d str,
    /// Type and base64.
    pub key: &'d str,
}

/// What lets a browser or a program in at a forwarded port.
#[derive(serde::Serialize)]
#[serde(untagged)]
pub enum Web {
    Link { forward: String, link: String, until: Timestamp },
    Token { token: String, until: Timestamp },
}

impl Web {
    /// For people; a token stands alone, so that a shell takes it as it is.
    pub fn text(&self) -> String {
        match self {
            Web::Link { forward, link, until } => format!(
                "# Forwards a port of your machine to rollcall, as long as it runs\n{forward}\n\n\
                 # Lets this browser in, once, until {until}\n{link}\n\n\
                 # For programs: Authorization: Bearer $(ssh rollcall web --token)\n"
            ),
            Web::Token { token, .. } => format!("{token}\n"),
        }
    }
}

fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("completion/bash"),
        Shell::Zsh => include_str!("completion/zsh"),
        Shell::Fish => include_str!("completion/fish"),
    }
}

/// The whole answer of `setup`, in which every line that is for a person is a comment.
pub fn setup(door: &ClientSide<'_>) -> String {
    let ClientSide { alias, host, port, user, key } = door;
    let known = match port {
        22 => host.to_string(),
        port => format!("[{host}]:{port}"),
    };
    format!(
        "# For ~/.ssh/config\n\
         Host {alias}\n    HostName {host}\n    Port {port}\n    User {user}\n    ControlMaster auto\n    \
         ControlPath ~/.ssh/%C.sock\n    ControlPersist 10m\n    ServerAliveInterval 15\n    StrictHostKeyChecking yes\n\n\
         # For ~/.ssh/known_hosts\n#   compare the key before: an attacker in between would print another one\n{known} {key}\n\n\
         # Completion: one of these lines in the start file of your shell; afterwards: {alias} deploy <TAB>\n\
         # bash: eval \"$(ssh -n {alias} setup --completion bash)\"\n\
         # zsh:  eval \"$(ssh -n {alias} setup --completion zsh)\"\n\
         # fish: ssh -n {alias} setup --completion fish | source\n"
    )
}

/// The completion script of a shell.
pub fn completion(shell: Shell, alias: &str) -> String {
    let name: String = alias.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    script(shell).replace("NAME", &name).replace("ALIAS", alias)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standard_port_is_left_out_of_known_hosts() {
        let door =
            ClientSide { alias: "rc", host: "rc.example", port: 22, user: "ann", key: "ssh-ed25519 AAAA" };
        assert!(setup(&door).contains("\nrc.example ssh-ed25519 AAAA\n"));
        let door = ClientSide { port: 2222, ..door };
        assert!(setup(&door).contains("\n[rc.example]:2222 ssh-ed25519 AAAA\n"));
        assert!(
            setup(&door)
                .starts_with("# For ~/.ssh/config\nHost rc\n    HostName rc.example\n    Port 2222\n")
        );
    }

    #[test]
    fn the_function_of_a_shell_has_a_name_that_every_shell_accepts() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = completion(shell, "roll-call.prod");
            assert!(
                script.contains("ssh roll-call.prod") && script.contains("_roll_call_prod_words"),
                "{script}"
            );
        }
    }
}
