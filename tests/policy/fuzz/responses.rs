//! Responses of an instance to a probe: malformed, endless, slow, or not HTTP.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::select;
use ship::core::fleet::health::Verdict;
use ship::probe::{Client, PortProbe, Route, probe};

use ship_testing::mutation::{cases, mutated_text};

const DEADLINE: Duration = Duration::from_millis(150);
/// The time that a busy machine may add: a flood of small responses is read in chunks, and one chunk
/// may take seconds in a debug build. A probe that never ends takes longer than any limit.
const SLACK: Duration = Duration::from_secs(30);

/// What the server does after the first bytes.
#[derive(Clone, Copy, Debug)]
enum NextAction {
    HangUp,
    Silence,
    /// Repeats the last bytes as fast as the client reads them.
    Flood,
    /// Repeats the last bytes, one at a time.
    Drip,
}

/// A server that sends the next response to each connection.
struct Server {
    port: u16,
    responses: Option<Sender<(Vec<u8>, NextAction)>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (responses, receiver) = channel();
        Self {
            port,
            responses: Some(responses),
            thread: Some(thread::spawn(move || serve(&listener, &receiver))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.responses = None;
        // Wakes the thread in `accept`, so that it finds the closed channel.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(listener: &TcpListener, responses: &Receiver<(Vec<u8>, NextAction)>) {
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let Ok((response, next)) = responses.recv() else {
            return;
        };
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(&response);
        let rest = &response[response.len().saturating_sub(40)..];
        match next {
            NextAction::HangUp => {}
            // Waits until the client closes the connection.
            NextAction::Silence => drop(stream.read_to_end(&mut Vec::new())),
            NextAction::Flood => while !rest.is_empty() && stream.write_all(rest).is_ok() {},
            NextAction::Drip => {
                for byte in rest.iter().cycle() {
                    if stream.write_all(&[*byte]).is_err() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(2));
                }
            }
        }
    }
}

fn responses() -> Vec<String> {
    [
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nServer: x\r\n\r\nready\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nready\r\n0\r\n\r\n",
        "HTTP/1.0 503 Service Unavailable\r\n\r\nno database",
        "HTTP/1.1 302 Found\r\nLocation: http://elsewhere.invalid/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: ",
        "HTTP/2 200\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "ready",
    ]
    .map(str::to_owned)
    .into()
}

proptest! {
    #![proptest_config(cases(120))]

    #[test]
    fn probe_ends_in_time_with_a_printable_line(
        response in mutated_text(responses()),
        next in select(vec![NextAction::HangUp, NextAction::HangUp, NextAction::Silence, NextAction::Flood, NextAction::Drip]),
        body in select(vec![None, Some("ready"), Some("")]),
        status in select(vec![None, Some(200), Some(503)]),
    ) {
        let server = Server::start();
        server.responses.as_ref().unwrap().send((response.into_bytes(), next)).unwrap();
        let request = PortProbe::Http { path: "/healthz".to_owned(), status, body: body.map(str::to_owned), host_header: None, header: None };
        let route = Route::Direct { address: "127.0.0.1".to_owned() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let start = Instant::now();
        let verdict = runtime.block_on(probe(&Client::new(), &request, &route, server.port, DEADLINE));
        prop_assert!(start.elapsed() < DEADLINE + SLACK, "{:?}", start.elapsed());
        drop(runtime);
        let (Verdict::Pass(text) | Verdict::Fail(text) | Verdict::Error(text)) = &verdict;
        prop_assert!(!text.is_empty() && text.chars().count() < 500 && !text.contains(char::is_control), "{text:?}");
        prop_assert!(!matches!(verdict, Verdict::Error(_)), "a response of the instance is not an error of the probe: {text}");
    }
}
