//! What the engine is asked about pods that begin to run while they are looked for. Here the engine is one of the test's
//! own: the moment between a container's first step and the list that tells of it is too short to be met on purpose.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use switchyard_core::{FeatureName, Instance};
use switchyard_engine::Engine;

/// Answers the questions of one connection: with the list for the list, for a container as it is once its start is over.
fn answer(mut stream: &UnixStream, list: &str) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while let Some(Ok(request)) = lines.next() {
        while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        let runs = request.contains("/containers/bbb");
        let (code, body) = match request.contains("/containers/json") {
            true => (200, list.to_owned()),
            false if request.contains("/containers/ccc") => (404, r#"{"message": "gone"}"#.to_owned()),
            false => (200, format!(r#"{{"State": {{"Running": {runs}}}}}"#)),
        };
        let head = format!("HTTP/1.1 {code} -\r\nContent-Type: application/json\r\n");
        let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

#[tokio::test]
async fn a_pod_that_runs_before_the_list_says_so_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let states = [("aaa", "running"), ("bbb", "created"), ("ccc", "created"), ("ddd", "created")];
    let listed = states.map(|(id, state)| format!(r#"{{"Id": "{id}", "State": "{state}"}}"#));
    let list = format!("[{}]", listed.join(","));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let list = list.clone();
            std::thread::spawn(move || answer(&stream.unwrap(), &list));
        }
    });
    let engine = Engine::connect(&socket).unwrap();
    let instance = Instance::on_host(FeatureName::parse("snmp").unwrap());
    for (starting, expected) in [(true, ["aaa", "bbb"].as_slice()), (false, &["aaa"])] {
        let found = engine.pods(&instance, starting).await.unwrap();
        let found: Vec<_> = found.iter().map(|pod| pod.id.as_str()).collect();
        assert_eq!(found, expected, "one has begun, one is gone, one was never started");
    }
}
