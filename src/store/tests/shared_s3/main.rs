//! Snapshots that two machines share through S3, spoken with a server that asks for right signatures.

use serde_json::Value;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;
use tidecast_config::SharedPlace;
use tidecast_event::TopicPartition;
use tidecast_ports::SnapshotStore;
use tidecast_store::{FolderStore, KEPT, SharedStore, StoreError};

const BUCKET: &str = "snapshots-of-tests";

struct Server {
    child: Child,
    lines: BufReader<ChildStdout>,
    endpoint: String,
    encrypted: String,
    key: String,
    secret: String,
}

impl Server {
    fn start() -> Server {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join("../../tests/.cache/venv/bin/python");
        assert!(python.is_file(), "no Python with moto: `tests/run tools unit` makes it");
        let mut child = Command::new(python)
            .arg(root.join("tests/shared_s3/server.py"))
            .arg(BUCKET)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let said: Value = serde_json::from_str(&first).unwrap();
        let text = |name: &str| said[name].as_str().unwrap().to_owned();
        let endpoint = format!("http://127.0.0.1:{}", said["port"]);
        let encrypted = format!("https://127.0.0.1:{}", said["tls"]);
        Server { child, lines, endpoint, encrypted, key: text("key"), secret: text("secret") }
    }

    /// What a process that may come in has in its environment.
    fn variables(&self) -> Vec<(OsString, OsString)> {
        variables(&self.endpoint, &self.key, &self.secret)
    }

    /// Ends it; the requests that it had.
    fn end(mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        let requests = self.lines.lines().map_while(Result::ok).collect();
        self.child.wait().unwrap();
        requests
    }
}

fn variables(endpoint: &str, key: &str, secret: &str) -> Vec<(OsString, OsString)> {
    [
        ("AWS_ACCESS_KEY_ID", key),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        // Not of interest to it, as most variables.
        ("PATH", "/bin"),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .into()
}

fn flights() -> TopicPartition {
    TopicPartition::new("Flights.eu/1", 3)
}

/// A machine with a disk of its own.
fn machine(
    address: &str,
    variables: Vec<(OsString, OsString)>,
) -> (TempDir, Result<SharedStore, StoreError>) {
    let disk = tempfile::tempdir().unwrap();
    let local = Arc::new(FolderStore::open(disk.path()).unwrap());
    let place = SharedPlace::parse(address).unwrap();
    let store = SharedStore::open_with(local, &place, "tidecast-eu", variables);
    (disk, store)
}

#[test]
fn one_machine_saves_and_another_takes_over() {
    let server = Server::start();
    let address = format!("s3://{BUCKET}/some/where");
    let (_disk, first) = machine(&address, server.variables());
    let (_other_disk, second) = machine(&address, server.variables());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(second.newest(&flights(), 100), Ok(Default::default()));
    for offset in [10, 20, 30, 40] {
        first.save(&flights(), offset, format!("state {offset}").as_bytes()).unwrap();
    }
    for (at_most, offset) in [(100, 40), (40, 40), (39, 30), (20, 20)] {
        let found = second.newest(&flights(), at_most).unwrap();
        let snapshot = found.snapshot.unwrap();
        assert_eq!((snapshot.offset, found.passed_over), (offset, vec![]));
        assert_eq!(snapshot.state, format!("state {offset}").as_bytes());
    }
    assert_eq!(second.newest(&flights(), 19), Ok(Default::default()), "{KEPT} are kept");

    // Larger than one request carries; nothing in it repeats, so that it is as large packed.
    let mut random = 7_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 32) as u8
    };
    let large: Vec<u8> = (0..12_000_000).map(|_| next()).collect();
    second.save(&flights(), 50, &large).unwrap();
    let found = first.newest(&flights(), 100).unwrap();
    assert!(found.passed_over.is_empty() && found.snapshot.is_some_and(|found| found.state == large));

    let requests = server.end();
    let count = |method: &str, part: &str| {
        requests.iter().filter(|line| line.starts_with(method) && line.contains(part)).count()
    };
    let object = format!("/{BUCKET}/some/where/tidecast-eu/");
    for (method, part, least) in [
        ("GET", "list-type=2", 10),
        ("PUT", &object, 4 + 3),
        ("POST", "uploads", 1),
        ("PUT", "partNumber=3", 1),
        ("POST", "uploadId=", 1),
        ("GET", &object, 3 + 3),
        ("POST", "delete", 2),
    ] {
        assert!(count(method, part) >= least, "{method} {part} less than {least} times: {requests:#?}");
    }
    assert_eq!(count("DELETE", "uploadId="), 0, "nothing was given up: {requests:#?}");
}

#[test]
fn it_is_encrypted_where_the_endpoint_is() {
    let server = Server::start();
    let mut variables = variables(&server.encrypted, &server.key, &server.secret);
    variables.push(("AWS_ALLOW_INVALID_CERTIFICATES".into(), "true".into()));
    let (_disk, store) = machine(&format!("s3://{BUCKET}"), variables);
    let store = store.unwrap();
    store.save(&flights(), 10, b"state 10").unwrap();
    assert!(server.end().iter().any(|line| line.starts_with("PUT")));
}

#[test]
fn who_may_not_come_in_is_told_in_one_line_without_a_secret() {
    let server = Server::start();
    let address = format!("s3://{BUCKET}/some/where");
    let canary = "canary-of-the-secret-key";
    // Nobody listens on a port that was free a moment ago and is given back.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (address, variables, cause) in [
        (&address, variables(&server.endpoint, &server.key, canary), "SignatureDoesNotMatch"),
        (&address, variables(&server.endpoint, "AKIAUNKNOWN", canary), "InvalidAccessKeyId"),
        (&"s3://not-there/x".to_owned(), server.variables(), "NoSuchBucket"),
        (&address, variables(&format!("http://{nobody}"), &server.key, canary), "refused"),
        (&address, variables(&server.encrypted, &server.key, &server.secret), "certificate"),
    ] {
        let (_disk, store) = machine(address, variables);
        let line = store.unwrap_err().to_string();
        for part in ["state.shared", address, cause, "AWS_SECRET_ACCESS_KEY"] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        for secret in [canary, &server.secret, &server.key, "AKIAUNKNOWN"] {
            assert!(!line.contains(secret), "{secret} is in {line}");
        }
        assert!(!line.contains('\n') && line.len() < 600, "{line}");
    }
    server.end();
}

#[test]
fn a_place_that_goes_away_fails_what_needs_it_and_the_folder_stays() {
    let server = Server::start();
    let (_disk, store) = machine(&format!("s3://{BUCKET}"), server.variables());
    let store = store.unwrap();
    store.save(&flights(), 10, b"state 10").unwrap();
    server.end();
    let unwritten = store.save(&flights(), 20, b"state 20").unwrap_err();
    let unread = store.newest(&flights(), 100).unwrap_err();
    for line in [unwritten.to_string(), unread] {
        assert!(line.contains(&format!("state.shared s3://{BUCKET} cannot be listed")), "{line}");
    }
}
