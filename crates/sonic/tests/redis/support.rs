//! A switch's databases for a test: real redis-servers on private sockets below a temporary root.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use switchyard_core::{AsicId, FeatureName, Instance};
use switchyard_sonic::{Db, DbAddress, DbConfig, Paths, Switch};
use tempfile::TempDir;

/// A server is there within this time, even on a busy machine.
const START_TIME_MAX: Duration = Duration::from_secs(20);

/// How a server can be reached.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Socket(PathBuf),
    Tcp(u16),
}

/// One redis-server, ended when dropped.
pub(crate) struct Server {
    place: Place,
    process: Option<Child>,
}

impl Server {
    pub(crate) fn start(place: Place) -> Self {
        let mut server = Self { place, process: None };
        server.restart();
        server
    }

    /// Starts it, empty, after its end.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let (port, socket) = match &self.place {
            Place::Socket(socket) => ("0".to_owned(), socket.display().to_string()),
            Place::Tcp(port) => (port.to_string(), String::new()),
        };
        let process = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--unixsocket", &socket])
            .args(["--save", "", "--appendonly", "no", "--databases", "100", "--dir", "/tmp"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server must be installed for these tests: apt-get install redis-server");
        self.process = Some(process);
        let begin = Instant::now();
        while let Err(error) = Db::open(&self.address(0)) {
            assert!(begin.elapsed() < START_TIME_MAX, "redis-server does not come up: {error}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    pub(crate) fn address(&self, id: u32) -> DbAddress {
        let (socket, port) = match &self.place {
            Place::Socket(socket) => (Some(socket.clone()), None),
            Place::Tcp(port) => (None, Some(*port)),
        };
        DbAddress { socket, host: "127.0.0.1".into(), port, id, separator: "|".into() }
    }

    /// A client that knows nothing of Switchyard.
    pub(crate) fn raw(&self) -> redis::Connection {
        let url = match &self.place {
            Place::Socket(socket) => format!("unix://{}", socket.display()),
            Place::Tcp(port) => format!("redis://127.0.0.1:{port}"),
        };
        redis::Client::open(url).unwrap().get_connection().unwrap()
    }

    fn config(&self) -> serde_json::Value {
        let instance = match &self.place {
            Place::Socket(socket) => json!({"hostname": "127.0.0.1", "unix_socket_path": socket}),
            Place::Tcp(port) => json!({"hostname": "127.0.0.1", "port": port}),
        };
        json!({
            "INSTANCES": {"redis": instance},
            "DATABASES": {
                "CONFIG_DB": {"id": 4, "separator": "|", "instance": "redis"},
                "STATE_DB": {"id": 6, "separator": "|", "instance": "redis"},
            },
            "VERSION": "1.0",
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A switch with its servers.
pub(crate) struct Fixture {
    root: TempDir,
    pub(crate) host: Server,
    pub(crate) asics: Vec<Server>,
}

impl Fixture {
    /// One ASIC, one server, by its socket.
    pub(crate) fn new() -> Self {
        Self::with_asics(0)
    }

    /// One ASIC, one server, by TCP only.
    pub(crate) fn over_tcp() -> Self {
        let root = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::build(root, Place::Tcp(port), 0)
    }

    /// So many namespaces, each with a server of its own.
    pub(crate) fn with_asics(asics: u8) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("var/run/redis")).unwrap();
        let socket = root.path().join("var/run/redis/redis.sock");
        Self::build(root, Place::Socket(socket), asics)
    }

    fn build(root: TempDir, place: Place, asics: u8) -> Self {
        let host = Server::start(place);
        let run = root.path().join("var/run");
        write_config(&run.join("redis"), &host);
        let mut includes = vec![json!({"include": "../../redis/sonic-db/database_config.json"})];
        let asics: Vec<_> = (0..asics)
            .map(|asic| {
                let directory = run.join(format!("redis{asic}"));
                fs::create_dir_all(&directory).unwrap();
                let server = Server::start(Place::Socket(directory.join("redis.sock")));
                write_config(&directory, &server);
                includes.push(json!({
                    "namespace": format!("asic{asic}"),
                    "include": format!("../../redis{asic}/sonic-db/database_config.json"),
                }));
                server
            })
            .collect();
        if !asics.is_empty() {
            let global = json!({"INCLUDES": includes, "VERSION": "1.0"});
            fs::write(run.join("redis/sonic-db/database_global.json"), global.to_string()).unwrap();
        }
        Self { root, host, asics }
    }

    pub(crate) fn paths(&self) -> Paths {
        Paths::below(self.root.path())
    }

    pub(crate) fn open(&self) -> Switch {
        Switch::open(self.paths()).unwrap()
    }

    /// One of the host's databases, by name.
    pub(crate) fn db(&self, name: &str) -> Db {
        let config = DbConfig::load(&self.paths().database_config()).unwrap();
        Db::open(config.address(name).unwrap()).unwrap()
    }
}

fn write_config(directory: &Path, server: &Server) {
    fs::create_dir_all(directory.join("sonic-db")).unwrap();
    fs::write(directory.join("sonic-db/database_config.json"), server.config().to_string()).unwrap();
}

pub(crate) fn name(text: &str) -> FeatureName {
    FeatureName::parse(text).unwrap()
}

pub(crate) fn snmp() -> Instance {
    Instance::on_host(name("snmp"))
}

pub(crate) fn bgp(asic: u8) -> Instance {
    Instance { feature: name("bgp"), asic: Some(AsicId(asic)) }
}
