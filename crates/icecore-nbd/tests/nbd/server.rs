//! Many clients, and how all of it ends.

use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use icecore_nbd::Event;
use icecore_nbd::Events;
use icecore_nbd::Limits;
use icecore_nbd::Report;
use icecore_nbd::Server;
use icecore_nbd::Stopper;

use crate::client::Client;
use crate::client::DF;
use crate::client::FLUSH;
use crate::client::READ;
use crate::client::Told;
use crate::client::WRITE;
use crate::client::request;
use crate::disks::Ram;
use crate::disks::Shelf;

/// Keeps what happened, as text.
#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

impl Events for Diary {
    fn event(&self, event: &Event<'_>) {
        let line = match event {
            Event::Connected { connection, .. } => format!("{connection} connected"),
            Event::Opened { connection, export } => format!("{connection} opened {export}"),
            Event::Disconnected { connection, problem } => format!("{connection} gone {problem:?}"),
            Event::Refused { problem } => format!("refused: {problem}"),
            Event::RequestFailed { connection, export, command, offset, length, error } => {
                format!("{connection} {export} {command} {offset}+{length}: {error}")
            }
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(line);
    }
}

struct Running {
    dir: tempfile::TempDir,
    stopper: Stopper,
    diary: Arc<Diary>,
    port: u16,
    serving: JoinHandle<Report>,
}

impl Running {
    fn new(disk: &Arc<Ram>, limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let unix = UnixListener::bind(dir.path().join("socket")).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let diary = Arc::new(Diary::default());
        let shelf = Arc::new(Shelf(vec![("disk", Arc::clone(disk))]));
        let server = Server::with_events(shelf, limits, Arc::clone(&diary) as Arc<dyn Events>).unwrap();
        let stopper = server.stopper();
        let serving = thread::spawn(move || server.serve(&[unix.into(), tcp.into()]).unwrap());
        Self { dir, stopper, diary, port, serving }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    fn client(&self) -> Client {
        Client::go(UnixStream::connect(self.path()).unwrap(), "disk", true)
    }
}

#[test]
fn a_stop_answers_what_was_asked_syncs_and_ends() {
    let disk = Arc::new(Ram::new(vec![5; 8192]));
    let running = Running::new(&disk, Limits::default());
    let mut client = running.client();
    let mut idle = running.client();
    let half = UnixStream::connect(running.path()).unwrap();
    client.write(0, 0, b"abc");
    disk.gate.close();
    let flush = client.send(0, FLUSH, 0, 0, &[]);
    disk.gate.wait_for_one();
    client.write(0, 3, b"def");
    assert_eq!(idle.read(0, 6), Ok(b"abcdef".to_vec()));

    running.stopper.stop();
    idle.assert_end();
    disk.gate.open();
    assert_eq!(client.answer(flush, 0), [Told::Simple(0)]);
    client.assert_end();
    let mut greeting = Vec::new();
    let _ = (&half).read_to_end(&mut greeting);
    let report = running.serving.join().unwrap();
    assert!(!disk.unsynced.load(Ordering::SeqCst));
    // Whether the third had been accepted is not known.
    assert_eq!(
        (report.requests, report.failed_requests, report.written_bytes, report.read_bytes),
        (4, 0, 6, 6)
    );
    assert_eq!(report.unsynced, [""; 0]);
    let connected = UnixStream::connect(running.dir.path().join("socket"));
    assert!(connected.is_err(), "the listeners are closed with the server");
}

#[test]
fn a_client_that_asks_without_end_does_not_hold_up_a_stop() {
    let disk = Arc::new(Ram::new(vec![5; 8192]));
    let running = Running::new(&disk, Limits { requests: 1, ..Limits::default() });
    let mut client = running.client();
    disk.gate.close();
    let requests = [request(0, FLUSH, 1, 0, 0, &[]), request(0, WRITE, 2, 0, 3, b"abc")];
    client.socket.write_all(&requests.concat()).unwrap();
    disk.gate.wait_for_one();
    running.stopper.stop();
    disk.gate.open();
    assert_eq!(client.answer(1, 0), [Told::Simple(0)]);
    client.assert_end();
    running.serving.join().unwrap();
    assert_eq!(disk.bytes.lock().unwrap()[..3], [5; 3]);
}

#[test]
fn a_sync_that_fails_at_the_end_is_reported() {
    let disk = Arc::new(Ram::new(vec![5; 8192]));
    let running = Running::new(&disk, Limits::default());
    let mut client = running.client();
    client.write(0, 0, b"abc");
    disk.errors.lock().unwrap().insert(u64::MAX, 5);
    running.stopper.stop();
    let report = running.serving.join().unwrap();
    assert_eq!(report.unsynced.len(), 1, "{report:?}");
    assert!(report.unsynced[0].starts_with("disk: "), "{report:?}");
    let told = running.diary.0.lock().unwrap().clone();
    assert!(told.iter().any(|line| line.starts_with("1 disk flush at the end")), "{told:?}");
}

#[test]
fn a_byte_stops_the_server() {
    let running = Running::new(&Arc::new(Ram::new(vec![5; 8192])), Limits::default());
    running.stopper.waker().unwrap().write_all(&[1]).unwrap();
    assert_eq!(running.serving.join().unwrap(), Report::default());
}

#[test]
fn connections_are_limited_and_told_of() {
    let disk = Arc::new(Ram::new(vec![5; 8192]));
    disk.errors.lock().unwrap().insert(1, 5);
    let running = Running::new(&disk, Limits { connections: 2, ..Limits::default() });
    let (mut first, second) = (running.client(), running.client());
    let mut third = UnixStream::connect(running.path()).unwrap();
    let mut greeting = Vec::new();
    let _ = third.read_to_end(&mut greeting);
    assert!(greeting.is_empty());
    assert_eq!(first.read(4096, 10), Err(5));
    running.stopper.stop();
    let report = running.serving.join().unwrap();
    drop((first, second));
    assert_eq!((report.connections, report.requests, report.failed_requests), (2, 1, 1));
    let told = running.diary.0.lock().unwrap().clone();
    for line in ["1 opened disk", "2 opened disk", "refused: there are too many connections", "2 gone None"] {
        assert!(told.contains(&line.to_owned()), "{line}: {told:?}");
    }
    assert!(told.iter().any(|line| line.starts_with("1 disk read 4096+10: ")), "{told:?}");
}

#[test]
fn clients_at_once_over_both_kinds_of_sockets() {
    let disk = Arc::new(Ram::new(vec![0; 8 * 65_536]));
    // Less memory than they ask for together.
    let running = Running::new(&disk, Limits { memory_bytes: 1, requests: 3, ..Limits::default() });
    let clients: Vec<_> = (0..6_u8).map(|_| running.client()).collect();
    let threads: Vec<_> = (0..)
        .zip(clients)
        .map(|(number, mut client)| {
            thread::spawn(move || {
                let offset = u64::from(number) * 65_536;
                for round in 1..40 {
                    assert_eq!(client.write(0, offset, &[number * 40 + round; 65_536]), [Told::Simple(0)]);
                    assert_eq!(client.ask(0, FLUSH, 0, 0), [Told::Simple(0)]);
                    assert_eq!(client.read(offset, 65_536), Ok(vec![number * 40 + round; 65_536]));
                }
            })
        })
        .collect();
    let mut tcp = TcpStream::connect(("127.0.0.1", running.port)).unwrap();
    let mut greeting = [0; 18];
    tcp.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting[..8], b"NBDMAGIC");
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    running.stopper.stop();
    let report = running.serving.join().unwrap();
    assert_eq!((report.connections, report.requests), (7, 6 * 39 * 3));
}

/// Reads 32 MiB in one piece, for which a server with the least memory needs all that is not
/// reserved.
fn read_all(client: &mut Client) {
    let told = client.ask(DF, READ, 0, 32 << 20);
    assert!(matches!(&told[..], [Told::Data(0, bytes)] if bytes.len() == 32 << 20));
}

#[test]
fn a_client_that_holds_memory_and_stands_still_is_left_when_others_wait() {
    let disk = Arc::new(Ram::new(vec![5; 32 << 20]));
    // Longer than a busy machine keeps a client that does speak from its turn.
    let patience = Duration::from_secs(1);
    let limits = Limits { memory_bytes: 32 << 20, patience, ..Limits::default() };
    let running = Running::new(&disk, limits);
    let (mut greedy, mut other) = (running.client(), running.client());
    // It asks for all of the memory and takes nothing of it; the other way round, it promises to
    // write and does not.
    greedy.send(4, READ, 0, 32 << 20, &[]);
    let mut head = [0; 28];
    greedy.socket.read_exact(&mut head).unwrap();
    read_all(&mut other);
    let mut slow = running.client();
    slow.send(0, WRITE, 0, 32 << 20, &[1]);
    let mut rest = Vec::new();
    // The memory is taken once the header was read; until then this would not wait.
    while other.socket.peer_addr().is_ok() && rest.is_empty() {
        read_all(&mut other);
        slow.socket.set_nonblocking(true).unwrap();
        match slow.socket.read(&mut [0]) {
            Ok(0) => rest.push(0),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            other => panic!("{other:?}"),
        }
    }
    running.stopper.stop();
    running.serving.join().unwrap();
}

/// Asks for 32 MiB as often as told, and takes nothing but the beginning of the first reply.
fn greedy(running: &Running, times: usize) -> (Client, Vec<u64>) {
    let mut client = running.client();
    let cookies: Vec<u64> = (0..times).map(|_| client.send(DF, READ, 0, 32 << 20, &[])).collect();
    (client, cookies)
}

/// Does what needs memory of all sizes but the largest.
fn use_a_disk(client: &mut Client) {
    for bytes in [4096, 64 << 10, 256 << 10, 1 << 20] {
        assert_eq!(client.write(0, 0, &vec![6; bytes]), [Told::Simple(0)]);
        assert_eq!(client.read(0, u32::try_from(bytes).unwrap()), Ok(vec![6; bytes]));
    }
}

#[test]
fn one_client_never_has_all_of_the_memory() {
    let disk = Arc::new(Ram::new(vec![5; 32 << 20]));
    let limits = Limits { memory_bytes: 64 << 20, patience: Duration::from_millis(20), ..Limits::default() };
    let running = Running::new(&disk, limits);
    let mut other = running.client();
    let (mut client, cookies) = greedy(&running, 4);
    // The first of them is being sent, and its memory taken.
    client.socket.read_exact(&mut [0; 1]).unwrap();
    for _ in 0..20 {
        use_a_disk(&mut other);
    }
    // Nobody waited for that client, so it was not left, and can have all that it asked for.
    let mut left = 4 * (28 + (32 << 20)) - 1;
    let mut bytes = vec![0; 1 << 20];
    while left > 0 {
        let read = client.socket.read(&mut bytes).unwrap_or(0);
        assert!(read > 0, "it was left");
        left -= read;
    }
    assert_eq!(cookies.len(), 4);
    running.stopper.stop();
    running.serving.join().unwrap();
}

#[test]
fn clients_that_take_no_replies_do_not_keep_others_waiting() {
    let disk = Arc::new(Ram::new(vec![5; 32 << 20]));
    // Nobody is left for standing still.
    let patience = Duration::from_secs(3600);
    let limits = Limits { memory_bytes: 64 << 20, patience, ..Limits::default() };
    let running = Running::new(&disk, limits);
    let mut other = running.client();
    // The first to ask has the memory, and the others wait: only it gets a byte.
    let mut first = greedy(&running, 3).0;
    first.socket.read_exact(&mut [0; 1]).unwrap();
    let greedy: Vec<_> = (0..11).map(|_| greedy(&running, 3).0).collect();
    use_a_disk(&mut other);
    // Short requests are never behind anything of others, however many these are.
    let mut hungry: Vec<_> = (0..40).map(|_| running.client()).collect();
    for client in &mut hungry {
        for _ in 0..16 {
            client.send(DF, READ, 0, 1 << 20, &[]);
        }
    }
    assert_eq!(other.write(0, 0, &[7; 64 << 10]), [Told::Simple(0)]);
    assert_eq!(other.read(0, 4096), Ok(vec![7; 4096]));
    drop((first, greedy, hungry));
    running.stopper.stop();
    running.serving.join().unwrap();
}
