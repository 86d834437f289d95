//! What an instance answers to a probe: odd, endless, slow, or none of HTTP.

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
/// What a busy machine may add to that: a flood of small answers is taken in by the piece, and a
/// piece may take seconds where nothing is optimized. What does not end takes for ever.
const SOON: Duration = Duration::from_secs(30);

/// What follows the first words.
#[derive(Clone, Copy, Debug)]
enum After {
    HangUp,
    Silence,
    /// The last bytes again and again, as fast as they are taken.
    Flood,
    /// The same, a byte at a time.
    Drip,
}

/// A server that gives each connection the next answer.
struct Server {
    port: u16,
    answers: Option<Sender<(Vec<u8>, After)>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answers, receiver) = channel();
        Self {
            port,
            answers: Some(answers),
            thread: Some(thread::spawn(move || serve(&listener, &receiver))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.answers = None;
        // So that it looks once more whether there is anything to answer.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(listener: &TcpListener, answers: &Receiver<(Vec<u8>, After)>) {
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let Ok((words, after)) = answers.recv() else {
            return;
        };
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(&words);
        let rest = &words[words.len().saturating_sub(40)..];
        match after {
            After::HangUp => {}
            // Until the other side has had enough.
            After::Silence => drop(stream.read_to_end(&mut Vec::new())),
            After::Flood => while !rest.is_empty() && stream.write_all(rest).is_ok() {},
            After::Drip => {
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

fn answers() -> Vec<String> {
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
    fn a_probe_ends_in_time_with_a_plain_line(
        words in mutated_text(answers()),
        after in select(vec![After::HangUp, After::HangUp, After::Silence, After::Flood, After::Drip]),
        body in select(vec![None, Some("ready"), Some("")]),
        status in select(vec![None, Some(200), Some(503)]),
    ) {
        let server = Server::start();
        server.answers.as_ref().unwrap().send((words.into_bytes(), after)).unwrap();
        let question = PortProbe::Http { path: "/healthz".to_owned(), status, body: body.map(str::to_owned), host_header: None };
        let route = Route::Direct { address: "127.0.0.1".to_owned() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let began = Instant::now();
        let verdict = runtime.block_on(probe(&Client::new(), &question, &route, server.port, DEADLINE));
        prop_assert!(began.elapsed() < DEADLINE + SOON, "{:?}", began.elapsed());
        drop(runtime);
        let (Verdict::Pass(text) | Verdict::Fail(text) | Verdict::Error(text)) = &verdict;
        prop_assert!(!text.is_empty() && text.chars().count() < 500 && !text.contains(char::is_control), "{text:?}");
        prop_assert!(!matches!(verdict, Verdict::Error(_)), "whatever it answers, it is the \
                                                             instance's: {text}");
    }
}
