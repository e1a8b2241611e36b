//! The ways to a repository: TLS with its own authority, client certificates, proxies, a real sshd.
#![allow(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod world;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fairway_git::serve::Server;
use fairway_git::{Credentials, Error, Mirror, Remote};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use world::{World, branch, write};

const LIMIT: Duration = Duration::from_secs(30);

async fn fetch(
    world: &World,
    name: &str,
    url: &str,
    credentials: Credentials,
) -> Result<String, Error> {
    let remote = Remote::new(url, credentials)?;
    let mirror = Mirror::open(&world.dir.path().join(name), remote).await?;
    mirror
        .fetch(&branch("main"), LIMIT)
        .await
        .map(|revision| revision.to_string())
}

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// Certificate and key, PEM and DER.
    fn issue(&self, name: &str) -> (String, String, CertificateDer<'static>, Vec<u8>) {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (
            certificate.pem(),
            key.serialize_pem(),
            certificate.der().clone(),
            key.serialize_der(),
        )
    }
}

/// TLS in front of a plain server; with `clients`, only for those with a certificate of that authority.
async fn tls(authority: &Authority, plain: String, clients: Option<&Authority>) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let (_, _, certificate, key) = authority.issue("localhost");
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            let base64: String = clients
                .pem
                .lines()
                .filter(|l| !l.starts_with("-----"))
                .collect();
            let der =
                base64::Engine::decode(&base64::engine::general_purpose::STANDARD, base64).unwrap();
            roots.add(CertificateDer::from(der)).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
    let config = builder.with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, plain) = (acceptor.clone(), plain.clone());
            tokio::spawn(async move {
                let Ok(mut outer) = acceptor.accept(stream).await else {
                    return;
                };
                let mut inner = TcpStream::connect(plain).await.unwrap();
                let _ = copy_bidirectional(&mut outer, &mut inner).await;
            });
        }
    });
    port
}

/// A proxy that knows CONNECT and nothing else, for those who say this.
async fn proxy(authorization: Option<&'static str>, seen: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                // git asks without a password first.
                let head = loop {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else {
                            return;
                        };
                        head.push(byte);
                    }
                    let head = String::from_utf8(head).unwrap();
                    let wanted = authorization
                        .map(|value| format!("Proxy-Authorization: Basic {value}\r\n"));
                    if wanted.is_none_or(|wanted| head.contains(&wanted)) {
                        break head;
                    }
                    let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                                   Proxy-Authenticate: Basic realm=\"p\"\r\nContent-Length: 0\r\n\r\n";
                    stream.write_all(refusal.as_bytes()).await.unwrap();
                };
                let target = head
                    .strip_prefix("CONNECT ")
                    .unwrap()
                    .split(' ')
                    .next()
                    .unwrap()
                    .to_owned();
                seen.fetch_add(1, Ordering::Relaxed);
                let mut inner = TcpStream::connect(target).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut inner).await;
            });
        }
    });
    port
}

async fn served(world: &World) -> (Server, String, String) {
    let commit = world.commit("main", &[write("a.yaml", "1")]).await;
    let server = Server::start_anywhere().await.unwrap();
    server.add("fleet", world.origin.directory());
    let url = server.url("fleet");
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    (
        server,
        host.to_owned(),
        format!("{path} main@sha1:{commit}"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_an_authority_of_its_own_and_client_certificates() {
    let world = World::new().await;
    let (_server, host, about) = served(&world).await;
    let (path, revision) = about.split_once(' ').unwrap();
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let open = tls(&ours, host.clone(), None).await;
    let url = format!("https://localhost:{open}/{path}");
    let trusting = Credentials::none().with_ca(&ours.pem);
    assert_eq!(
        fetch(&world, "1", &url, trusting.clone()).await.unwrap(),
        revision
    );
    for (name, credentials) in [
        ("2", Credentials::none()),
        ("3", Credentials::none().with_ca(&clients.pem)),
    ] {
        let error = fetch(&world, name, &url, credentials).await.unwrap_err();
        assert!(matches!(error, Error::TlsFailed { .. }), "{error}");
    }
    let closed = tls(&ours, host, Some(&clients)).await;
    let url = format!("https://localhost:{closed}/{path}");
    let (certificate, key, _, _) = clients.issue("fairway");
    let known = trusting.clone().with_client_certificate(&certificate, &key);
    assert_eq!(fetch(&world, "4", &url, known).await.unwrap(), revision);
    let (certificate, key, _, _) = ours.issue("stranger");
    let stranger = trusting.clone().with_client_certificate(&certificate, &key);
    assert!(fetch(&world, "5", &url, stranger).await.is_err());
    assert!(fetch(&world, "6", &url, trusting).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_proxy() {
    let world = World::new().await;
    let (_server, host, about) = served(&world).await;
    let (path, revision) = about.split_once(' ').unwrap();
    let ours = Authority::new("ours");
    let port = tls(&ours, host, None).await;
    let url = format!("https://localhost:{port}/{path}");
    let seen = Arc::new(AtomicUsize::new(0));
    // "me:s@cret"
    let proxy = proxy(Some("bWU6c0BjcmV0"), seen.clone()).await;
    let credentials = Credentials::none().with_ca(&ours.pem);
    let through = credentials
        .clone()
        .with_proxy(&format!("http://me:s%40cret@127.0.0.1:{proxy}"));
    assert_eq!(fetch(&world, "1", &url, through).await.unwrap(), revision);
    assert!(seen.load(Ordering::Relaxed) > 0, "it went around the proxy");
    let wrong = credentials.with_proxy(&format!("http://me:wr0ng@127.0.0.1:{proxy}"));
    let error = fetch(&world, "2", &url, wrong).await.unwrap_err();
    assert!(!error.to_string().contains("wr0ng"), "{error}");
}

struct Sshd {
    child: Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sshd {
    fn start() -> Option<Self> {
        let program = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"]
            .into_iter()
            .find(|p| std::path::Path::new(p).exists());
        let Some(program) = program else {
            eprintln!("skipped: there is no sshd on this machine");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        // Where sshd runs as root it wants this folder.
        let _ = std::fs::create_dir_all("/run/sshd");
        for (name, passphrase) in [
            ("host", ""),
            ("other-host", ""),
            ("ann", ""),
            ("locked", "op en'sesame"),
            ("stranger", ""),
        ] {
            keygen(&at(name), passphrase);
        }
        let keys: String = ["ann.pub", "locked.pub"]
            .map(|name| std::fs::read_to_string(at(name)).unwrap())
            .concat();
        std::fs::write(at("authorized_keys"), keys).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n",
            at("host"),
            at("authorized_keys")
        );
        std::fs::write(at("config"), config).unwrap();
        let child = Command::new(program)
            .args(["-D", "-e", "-f", &at("config")])
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(at("log")).unwrap())
            .spawn()
            .unwrap();
        let sshd = Self { child, dir, port };
        for _ in 0..100 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(sshd);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        eprintln!("skipped: sshd does not start here: {}", sshd.read("log"));
        None
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap()
    }

    /// A line of `known_hosts`.
    fn host(&self, key: &str) -> String {
        format!(
            "[127.0.0.1]:{} {}",
            self.port,
            self.read(&format!("{key}.pub"))
        )
    }
}

fn keygen(path: &str, passphrase: &str) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", passphrase, "-f", path])
        .status()
        .unwrap();
    assert!(made.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn over_ssh() {
    let Some(sshd) = Sshd::start() else { return };
    let world = World::new().await;
    let commit = world.commit("main", &[write("a.yaml", "1")]).await;
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let url = format!(
        "ssh://{}@127.0.0.1:{}{}",
        user.trim(),
        sshd.port,
        world.origin.directory().display()
    );
    let known = sshd.host("host");
    let revision = format!("main@sha1:{commit}");
    let with = |key: &str, hosts: &str| Credentials::none().with_ssh(&sshd.read(key), hosts);
    let found = fetch(&world, "1", &url, with("ann", &known)).await;
    assert_eq!(
        found.unwrap_or_else(|e| panic!("{e}\n{}", sshd.read("log"))),
        revision
    );
    let locked = with("locked", &known);
    assert_eq!(
        fetch(
            &world,
            "2",
            &url,
            locked.clone().with_passphrase("op en'sesame")
        )
        .await
        .unwrap(),
        revision
    );
    for (name, credentials) in [
        ("3", with("stranger", &known)),
        ("4", with("ann", &sshd.host("other-host"))),
        ("5", with("ann", "")),
        ("6", locked.clone()),
        ("7", locked.with_passphrase("wr0ng")),
    ] {
        let error = fetch(&world, name, &url, credentials).await.unwrap_err();
        assert!(matches!(error, Error::AuthFailed { .. }), "{name}: {error}");
        assert!(!error.to_string().contains("wr0ng"), "{error}");
    }
}
