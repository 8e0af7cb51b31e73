//! A real OpenSSH server on a port of its own, and a wire to it that can be cut.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The server is there within this time, even on a busy machine.
const START_TIME_MAX: Duration = Duration::from_secs(20);

pub(crate) const USER: &str = "fetcher";
pub(crate) const PASSWORD: &str = "correct horse";
/// Of the password, as /etc/shadow has it.
const HASH: &str =
    "$6$fetchtests$Whz6UPJZ.7EHddRRj.YuptK4ifqwTPZ1thK8lgkXpBeNhGCsglozcoDID6T51wAWRy88A7claJQgihHR1nvfj/";

/// What a server offers.
pub(crate) struct Offer {
    pub(crate) host_key: &'static str,
    pub(crate) sftp: bool,
    /// Where programs are found.
    pub(crate) path: &'static str,
}

pub(crate) const USUAL: Offer = Offer { host_key: "ed25519", sftp: true, path: "/usr/bin:/bin" };

/// The server, with one user whose home is below its directory. The machine's own users stay as they are: what the
/// server sees as /etc/passwd and /etc/shadow is mounted for it alone.
pub(crate) struct Sshd {
    process: Child,
    directory: TempDir,
    pub(crate) port: u16,
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

fn make_key(kind: &str, path: &Path, passphrase: &str) {
    // The length counts for RSA alone, of which longer keys take long to make.
    let size = if kind == "rsa" { ["-b", "2048"].as_slice() } else { &[] };
    let rest = ["-N", passphrase, "-f", path.to_str().unwrap()];
    run("ssh-keygen", &[&["-q", "-t", kind], size, &rest].concat());
}

impl Sshd {
    pub(crate) fn start(offer: &Offer) -> Self {
        use std::os::unix::fs::PermissionsExt;

        let sshd = Path::new("/usr/sbin/sshd");
        assert!(sshd.exists(), "sshd is not installed: apt-get install openssh-server");
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir(at("home")).unwrap();
        make_key(offer.host_key, &at("host"), "");
        make_key("ed25519", &at("key"), "");
        make_key("rsa", &at("rsa"), "");
        make_key("ed25519", &at("locked"), "open sesame");
        make_key("ed25519", &at("stranger"), "");
        let keys =
            ["key.pub", "rsa.pub", "locked.pub"].map(|name| std::fs::read_to_string(at(name)).unwrap());
        std::fs::write(at("authorized"), keys.concat()).unwrap();
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
        let home = at("home").display().to_string();
        std::fs::write(at("passwd"), format!("{passwd}{USER}:x:65533:65534::{home}:/bin/sh\n")).unwrap();
        let shadow = std::fs::read_to_string("/etc/shadow").unwrap();
        std::fs::write(at("shadow"), format!("{shadow}{USER}:{HASH}:19000:0:99999:7:::\n")).unwrap();
        std::fs::create_dir_all("/run/sshd").unwrap();
        // Free a moment ago, and nobody else on this machine asks for it by number.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {host}\nAuthorizedKeysFile {authorized}\nUsePAM no\n\
             PasswordAuthentication yes\nStrictModes no\nPidFile none\nLogLevel QUIET\nSetEnv PATH={path}\n{sftp}\n",
            host = at("host").display(),
            authorized = at("authorized").display(),
            path = offer.path,
            sftp = if offer.sftp { "Subsystem sftp internal-sftp" } else { "" },
        );
        std::fs::write(at("config"), text).unwrap();
        let script = "mount --bind \"$1/passwd\" /etc/passwd && mount --bind \"$1/shadow\" /etc/shadow && \
                      exec /usr/sbin/sshd -D -e -f \"$1/config\"";
        let process = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(directory.path())
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begin.elapsed() < START_TIME_MAX, "sshd does not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { process, directory, port }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a file into the user's home.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path("home").join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A file of known hosts that has this server at a port.
    pub(crate) fn known_at(&self, port: u16) -> PathBuf {
        let key = std::fs::read_to_string(self.path("host.pub")).unwrap();
        let path = self.path(&format!("known-{port}"));
        std::fs::write(&path, format!("[127.0.0.1]:{port} {key}")).unwrap();
        path
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A wire that passes on at most so many bytes to the client on each of its first connections, and counts them all.
pub(crate) struct Wire {
    pub(crate) port: u16,
    pub(crate) passed: Arc<AtomicUsize>,
}

pub(crate) async fn wire(to: u16, max: usize, times: usize, hang: bool) -> Wire {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let passed = Arc::new(AtomicUsize::new(0));
    let all = passed.clone();
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((mut client, _)) = listener.accept().await else { return };
            let all = all.clone();
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let mut left = if number < times { max } else { usize::MAX };
                let (mut up, mut down) = (vec![0; 1 << 14], vec![0; 1 << 14]);
                while left > 0 {
                    let room = left.min(down.len());
                    tokio::select! {
                        count = client.read(&mut up) => match count {
                            Ok(count) if count > 0 => server.write_all(&up[..count]).await.unwrap(),
                            _ => return,
                        },
                        count = server.read(&mut down[..room]) => match count {
                            Ok(count) if count > 0 => {
                                left -= count;
                                all.fetch_add(count, Ordering::Relaxed);
                                if client.write_all(&down[..count]).await.is_err() { return }
                            }
                            _ => return,
                        },
                    }
                }
                if hang {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    Wire { port, passed }
}
