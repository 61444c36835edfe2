//! Stand-ins for those who are told: a mail server and a receiver of webhooks. Both can fail, hang, cut connections
//! in the middle, and come back.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::write;

/// How a stand-in treats whoever comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mood {
    Well,
    /// Hangs up at once.
    Away,
    /// Not now: 451, 503.
    Busy,
    /// Never: 550, 400.
    Refuses,
    /// Says nothing any more once it has the message.
    Hangs,
    /// Hangs up in the middle of the message, and forgets it.
    CutsInside,
    /// Takes the message, and hangs up without a word.
    CutsAfter,
}

/// One message as it came.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Of a webhook: the request line and headers. Of a mail: the envelope.
    pub head: String,
    pub body: String,
}

/// How a stand-in is spoken to.
#[derive(Clone)]
pub enum Wire {
    Plain,
    /// Mail alone: in plain first.
    Starttls(TlsAcceptor),
    Tls(TlsAcceptor),
}

/// A certificate for 127.0.0.1 in `dir`, and `ca.pem`, which vouches for it.
pub fn certificate(dir: &Path) -> TlsAcceptor {
    let at = |name: &str| dir.join(name).display().to_string();
    let openssl = |words: &str| {
        let status =
            Command::new("openssl").args(words.split(' ')).stderr(std::process::Stdio::null()).status();
        assert!(status.expect("openssl is there; run tests/run, which installs it").success(), "{words}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    write(&dir.join("names"), "subjectAltName=IP:127.0.0.1\n");
    let (ca, ca_key, request) = (at("ca.pem"), at("ca.key"), at("request.pem"));
    openssl(&format!("req -x509 {key} -keyout {ca_key} -out {ca} -subj /CN=ca -days 2"));
    openssl(&format!("req {key} -keyout {} -out {request} -subj /CN=stand-in", at("key.pem")));
    openssl(&format!(
        "x509 -req -in {request} -CA {ca} -CAkey {ca_key} -CAcreateserial -days 2 -out {} -extfile {}",
        at("cert.pem"),
        at("names")
    ));
    let certificate = CertificateDer::from_pem_file(at("cert.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(at("key.pem")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_no_client_auth().with_single_cert(vec![certificate], key);
    TlsAcceptor::from(Arc::new(config.expect("they go together")))
}

/// See the module.
pub struct Listener {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

struct Shared {
    mood: Mutex<Mood>,
    taken: Mutex<Vec<Taken>>,
    /// Connections so far.
    came: std::sync::atomic::AtomicUsize,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Listener {
    /// A mail server without TLS.
    pub async fn mail() -> Listener {
        Listener::start(true, Wire::Plain).await
    }

    /// The same with TLS.
    pub async fn mail_over(wire: Wire) -> Listener {
        Listener::start(true, wire).await
    }

    /// A receiver of webhooks.
    pub async fn hook() -> Listener {
        Listener::start(false, Wire::Plain).await
    }

    /// The same with TLS.
    pub async fn hook_over(wire: Wire) -> Listener {
        Listener::start(false, wire).await
    }

    async fn start(mail: bool, wire: Wire) -> Listener {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            mood: Mutex::new(Mood::Well),
            taken: Mutex::default(),
            came: Default::default(),
        });
        let stop = CancellationToken::new();
        let (serving, stopping) = (shared.clone(), stop.clone());
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = stopping.run_until_cancelled(listener.accept()).await {
                let (shared, stopping, wire) = (serving.clone(), stopping.clone(), wire.clone());
                shared.came.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                tokio::spawn(async move {
                    let serving = async {
                        // Whoever hangs up early has their reasons.
                        let _ = serve(stream, &shared, mail, wire).await;
                    };
                    stopping.run_until_cancelled(serving).await;
                });
            }
        });
        Listener { address, shared, stop }
    }

    /// From now on.
    pub fn be(&self, mood: Mood) {
        *self.shared.mood.lock().expect("not poisoned") = mood;
    }

    /// Everything that it has taken, in order.
    pub fn taken(&self) -> Vec<Taken> {
        self.shared.taken.lock().expect("not poisoned").clone()
    }

    /// How many connections there were.
    pub fn came(&self) -> usize {
        self.shared.came.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Shared {
    fn mood(&self) -> Mood {
        *self.mood.lock().expect("not poisoned")
    }

    /// Takes a message in this mood; what to answer. `None`: hang up.
    async fn take(&self, head: String, body: String, answers: [&'static str; 3]) -> Option<&'static str> {
        let [good, later, never] = answers;
        match self.mood() {
            Mood::Busy => Some(later),
            Mood::Refuses => Some(never),
            Mood::Hangs => std::future::pending().await,
            Mood::Away | Mood::CutsInside => None,
            mood => {
                self.taken.lock().expect("not poisoned").push(Taken { head, body });
                (mood == Mood::Well).then_some(good)
            }
        }
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared, mail: bool, wire: Wire) -> std::io::Result<()> {
    if shared.mood() == Mood::Away {
        return Ok(());
    }
    match (mail, wire) {
        (true, Wire::Plain) => smtp(stream, shared, true).await,
        (true, Wire::Tls(acceptor)) => smtp(acceptor.accept(stream).await?, shared, true).await,
        (true, Wire::Starttls(acceptor)) => {
            stream.write_all(b"220 stand-in ESMTP\r\n").await?;
            let (reader, mut writer) = stream.split();
            let mut lines = BufReader::new(reader).lines();
            while let Some(line) = lines.next_line().await? {
                if line.eq_ignore_ascii_case("STARTTLS") {
                    writer.write_all(b"220 go on\r\n").await?;
                    break;
                }
                writer.write_all(b"250-stand-in\r\n250 STARTTLS\r\n").await?;
            }
            smtp(acceptor.accept(stream).await?, shared, false).await
        }
        (false, Wire::Tls(acceptor) | Wire::Starttls(acceptor)) => {
            http(acceptor.accept(stream).await?, shared).await
        }
        (false, Wire::Plain) => http(stream, shared).await,
    }
}

async fn smtp(stream: impl AsyncRead + AsyncWrite, shared: &Shared, greet: bool) -> std::io::Result<()> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut lines = BufReader::new(reader).lines();
    let mut envelope = String::new();
    if greet {
        writer.write_all(b"220 stand-in ESMTP\r\n").await?;
    }
    while let Some(line) = lines.next_line().await? {
        let word = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        let answer = match word.as_str() {
            "EHLO" => "250-stand-in\r\n250 AUTH PLAIN LOGIN\r\n",
            "DATA" => {
                writer.write_all(b"354 go on\r\n").await?;
                let mut body = String::new();
                loop {
                    // Whoever goes away before the dot has sent nothing.
                    let Some(line) = lines.next_line().await? else { return Ok(()) };
                    if shared.mood() == Mood::CutsInside {
                        return Ok(());
                    }
                    if line == "." {
                        break;
                    }
                    body += &format!("{}\r\n", line.strip_prefix('.').unwrap_or(&line));
                }
                let answers = ["250 taken\r\n", "451 not now\r\n", "550 never\r\n"];
                match shared.take(std::mem::take(&mut envelope), body, answers).await {
                    Some(answer) => answer,
                    None => return Ok(()),
                }
            }
            "QUIT" => {
                writer.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            "AUTH" => {
                envelope += &format!("{line}\n");
                "235 known\r\n"
            }
            _ => {
                envelope += &format!("{line}\n");
                "250 fine\r\n"
            }
        };
        writer.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

async fn http(stream: impl AsyncRead + AsyncWrite, shared: &Shared) -> std::io::Result<()> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::new(reader);
    let (mut head, mut line) = (String::new(), String::new());
    while line != "\r\n" {
        head += &line;
        line.clear();
        if reader.read_line(&mut line).await? == 0 {
            return Ok(());
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    if shared.mood() == Mood::CutsInside {
        return Ok(());
    }
    reader.read_exact(&mut body).await?;
    let answer =
        |status: &str| format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    let answers = ["200 OK", "503 Service Unavailable", "400 Bad Request"];
    let Some(status) = shared.take(head, String::from_utf8_lossy(&body).into_owned(), answers).await else {
        return Ok(());
    };
    writer.write_all(answer(status).as_bytes()).await
}
