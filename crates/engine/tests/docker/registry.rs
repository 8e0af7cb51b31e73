//! A real registry on a port of the test's own: only what was fetched has digests. The tests of `crates/tpc` use this file
//! too.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longer than a busy machine takes.
const START_TIME_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Registry {
    process: Child,
    pub(crate) address: String,
    _store: TempDir,
}

impl Registry {
    pub(crate) fn start() -> Self {
        let store = tempfile::tempdir().unwrap();
        // On an address of this process's own the port stays free: on 127.0.0.1 it may become that of anybody's connection
        // before a registry on a busy machine gets to it.
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        let own = Ipv4Addr::new(127, high.saturating_add(1), middle, low);
        let address = TcpListener::bind((own, 0)).unwrap().local_addr().unwrap().to_string();
        let config = store.path().join("config.yml");
        let root = store.path().join("store");
        // JSON is YAML too.
        let text = format!(
            r#"{{"version": 0.1, "log": {{"level": "error"}}, "http": {{"addr": {address:?}}},
                "storage": {{"filesystem": {{"rootdirectory": "{}"}}}}}}"#,
            root.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is not installed: apt-get install docker-registry");
        let begin = Instant::now();
        while TcpStream::connect(&address).is_err() {
            assert_eq!(process.try_wait().unwrap(), None, "the registry ended");
            assert!(begin.elapsed() < START_TIME_MAX, "the registry does not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { process, address, _store: store }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
