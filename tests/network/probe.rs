//! Probes, against real sockets: what an instance answers becomes a verdict that a person
//! understands.

use std::time::{Duration, Instant};

use ship::core::analysis::measurement::{Bound, Finding, Measurement};
use ship::core::fleet::health::Verdict;
use ship::probe::{Client, PortProbe, Route, measure_http, measure_prometheus, probe};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use wiremock::matchers::{header, header_exists, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

const DEADLINE: Duration = Duration::from_secs(5);

fn direct() -> Route {
    Route::Direct {
        address: "127.0.0.1".to_owned(),
    }
}

fn http(path: &str, status: Option<u16>, body: Option<&str>) -> PortProbe {
    PortProbe::Http {
        path: path.to_owned(),
        status,
        body: body.map(str::to_owned),
        host_header: None,
        header: None,
    }
}

fn pass(text: &str) -> Verdict {
    Verdict::Pass(text.to_owned())
}

fn fail(text: &str) -> Verdict {
    Verdict::Fail(text.to_owned())
}

/// A port on which no process listens.
async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A server that gives every connection the same bytes; then it hangs up, or stays silent.
async fn raw_server(answer: &'static [u8], hangs_up: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer).await;
                if !hangs_up {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    port
}

async fn web(answer: ResponseTemplate) -> (MockServer, u16) {
    let server = MockServer::start().await;
    Mock::given(path("/healthz"))
        .respond_with(answer)
        .mount(&server)
        .await;
    let port = server.address().port();
    (server, port)
}

async fn get(port: u16, question: &PortProbe) -> Verdict {
    probe(&Client::new(), question, &direct(), port, DEADLINE).await
}

#[tokio::test]
async fn http_probe_sends_the_host_header() {
    let server = MockServer::start().await;
    let named = Mock::given(path("/healthz")).and(header("host", "www.example.org"));
    named
        .respond_with(ResponseTemplate::new(200).set_body_string("well"))
        .mount(&server)
        .await;
    let answer_to = async |host_header: Option<&str>| {
        let host_header = host_header.map(str::to_owned);
        let question = PortProbe::Http {
            path: "/healthz".to_owned(),
            status: None,
            body: None,
            host_header,
            header: None,
        };
        probe(
            &Client::new(),
            &question,
            &direct(),
            server.address().port(),
            DEADLINE,
        )
        .await
    };
    assert_eq!(answer_to(Some("www.example.org")).await, pass("well"));
    assert_eq!(answer_to(None).await, fail("HTTP 404"));
}

#[tokio::test]
async fn http_probe_compares_the_header_that_names_the_version() {
    let answer = ResponseTemplate::new(200)
        .set_body_string("well")
        .insert_header("x-version", "0.9");
    let (_server, port) = web(answer).await;
    let verdict = async |wanted: &str| {
        let question = PortProbe::Http {
            path: "/healthz".to_owned(),
            status: None,
            body: None,
            host_header: None,
            header: Some(wanted.to_owned()),
        };
        get(port, &question).await
    };
    assert_eq!(verdict("X-Version: 0.9").await, pass("well"));
    assert_eq!(
        verdict("X-Version: 0.8").await,
        fail("expected the header \"X-Version: 0.8\", found \"0.9\"")
    );
    assert_eq!(
        verdict("X-Release: 0.9").await,
        fail("expected the header \"X-Release: 0.9\", found no such header")
    );
}

#[tokio::test]
async fn tcp_probe_passes_only_if_the_port_has_a_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(get(port, &PortProbe::Tcp).await, pass("connected"));
    assert_eq!(
        get(closed_port().await, &PortProbe::Tcp).await,
        fail("connection refused")
    );
}

#[tokio::test]
async fn http_passes_with_the_first_line_of_the_answer() {
    let (_server, port) =
        web(ResponseTemplate::new(200).set_body_string("I am: 127.0.0.11\nmore")).await;
    assert_eq!(
        get(port, &http("/healthz", None, None)).await,
        pass("I am: 127.0.0.11")
    );
    let (_server, port) = web(ResponseTemplate::new(204)).await;
    assert_eq!(
        get(port, &http("/healthz", Some(204), None)).await,
        pass("HTTP 204")
    );
}

#[tokio::test]
async fn http_fails_with_what_came_instead() {
    let (_server, port) =
        web(ResponseTemplate::new(500).set_body_string("no database\nTraceback")).await;
    assert_eq!(
        get(port, &http("/healthz", None, None)).await,
        fail("HTTP 500: no database")
    );
    assert_eq!(
        get(port, &http("/other", None, None)).await,
        fail("HTTP 404")
    );
    assert_eq!(
        get(port, &http("/healthz", Some(500), None)).await,
        pass("no database")
    );
    assert_eq!(
        get(closed_port().await, &http("/healthz", None, None)).await,
        fail("connection refused")
    );
}

#[tokio::test]
async fn http_looks_for_text_in_the_body() {
    let (_server, port) =
        web(ResponseTemplate::new(200).set_body_string("version 0.8\nfine")).await;
    assert_eq!(
        get(port, &http("/healthz", None, Some("fine"))).await,
        pass("version 0.8")
    );
    assert_eq!(
        get(port, &http("/healthz", None, Some("0.9"))).await,
        fail("expected a body that contains \"0.9\", found \"version 0.8\"")
    );
}

#[tokio::test]
async fn http_probe_does_not_follow_redirects() {
    let (_server, port) = web(ResponseTemplate::new(302).insert_header("location", "/gone")).await;
    assert_eq!(
        get(port, &http("/healthz", None, None)).await,
        pass("HTTP 302")
    );
    assert_eq!(
        get(port, &http("/healthz", Some(200), None)).await,
        fail("HTTP 302")
    );
}

#[tokio::test]
async fn http_probe_always_sends_a_host_header() {
    let server = MockServer::start().await;
    Mock::given(header_exists("host"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    assert_eq!(
        get(server.address().port(), &http("/", None, None)).await,
        pass("HTTP 200")
    );
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let port = raw_server(b"", false).await;
    let began = Instant::now();
    let verdict = probe(
        &Client::new(),
        &http("/", None, None),
        &direct(),
        port,
        Duration::from_millis(300),
    )
    .await;
    assert_eq!(verdict, fail("no answer within 300ms"));
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn http_probe_reads_only_the_beginning_of_an_endless_body() {
    let port = raw_server(b"HTTP/1.1 200 OK\r\n\r\ndata: hello\n\ndata: ", false).await;
    assert_eq!(
        get(port, &http("/events", None, None)).await,
        pass("data: hello")
    );
}

#[tokio::test]
async fn http_probe_fails_on_an_interrupted_response() {
    let port = raw_server(b"", true).await;
    assert!(matches!(
        get(port, &http("/", None, None)).await,
        Verdict::Fail(_)
    ));
    let port = raw_server(b"HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\nhalf", true).await;
    let Verdict::Fail(answer) = get(port, &http("/", None, None)).await else {
        panic!("half an answer passed")
    };
    assert!(answer.starts_with("HTTP 200, then "), "{answer}");
}

#[tokio::test]
async fn http_probe_uses_a_new_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = tokio::spawn(async move {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
            // Keeps the connection open, as HTTP/1.1 does.
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await
                .unwrap();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 1]).await;
            });
        }
    });
    let client = Client::new();
    for _ in 0..3 {
        assert_eq!(
            probe(&client, &http("/", None, None), &direct(), port, DEADLINE).await,
            pass("ok")
        );
    }
    connections.await.unwrap();
}

#[tokio::test]
async fn unresolvable_name_is_an_error_of_the_prober() {
    let route = Route::Direct {
        address: "no-such-host.invalid".to_owned(),
    };
    for question in [PortProbe::Tcp, http("/", None, None)] {
        let verdict = probe(&Client::new(), &question, &route, 80, DEADLINE).await;
        assert!(
            matches!(&verdict, Verdict::Error(text) if text.contains("resolve")),
            "{verdict:?}"
        );
    }
}

#[tokio::test]
async fn closed_ssh_socket_is_an_error_of_the_prober() {
    let dir = tempfile::tempdir().unwrap();
    let route = Route::Socket(dir.path().join("gone"));
    for question in [PortProbe::Tcp, http("/", None, None)] {
        let verdict = probe(&Client::new(), &question, &route, 80, DEADLINE).await;
        assert!(
            matches!(&verdict, Verdict::Error(text) if text.contains("ssh connection is closed")),
            "{verdict:?}"
        );
    }
}

#[tokio::test]
async fn closed_socket_means_that_no_process_listens() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let route = Route::Socket(path);
    assert_eq!(
        probe(&Client::new(), &PortProbe::Tcp, &route, 80, DEADLINE).await,
        fail("connection refused")
    );
    assert_eq!(
        probe(&Client::new(), &http("/", None, None), &route, 80, DEADLINE).await,
        fail("connection refused or closed without a response")
    );
}

// ── numbers to judge a version by ────────────────────────────────────────────────────────────────

fn below_five_percent() -> Bound {
    "< 5%".parse().unwrap()
}

/// What a document at `/healthz` is worth, by the value at a pointer.
async fn of_document(answer: ResponseTemplate, pointer: &str) -> Measurement {
    let (server, _) = web(answer).await;
    measure_http(
        &format!("{}/healthz", server.uri()),
        pointer,
        &below_five_percent(),
        DEADLINE,
    )
    .await
}

fn detail_of(measurement: &Measurement) -> (Finding, &str) {
    (measurement.finding, &measurement.detail)
}

#[tokio::test]
async fn json_measurement_compares_the_value_with_the_bound() {
    let document = serde_json::json!({ "errors": [{ "rate": 0.048, "text": "0.2" }], "none": null, "up": true });
    let of = |pointer| of_document(ResponseTemplate::new(200).set_body_json(&document), pointer);
    assert_eq!(
        detail_of(&of("/errors/0/rate").await),
        (Finding::Success, "4.8% is < 5%")
    );
    assert_eq!(
        detail_of(&of("/errors/0/text").await),
        (Finding::Failure, "20% is not < 5%")
    );
    assert_eq!(
        detail_of(&of("/up").await),
        (Finding::Failure, "100% is not < 5%")
    );
    assert_eq!(
        detail_of(&of("/none").await),
        (Finding::Inconclusive, "null at /none")
    );
    assert_eq!(
        detail_of(&of("/error").await),
        (Finding::Error, "the response has no value at /error")
    );
    assert_eq!(detail_of(&of("/errors").await).0, Finding::Error);
    assert_eq!(
        detail_of(&of_document(ResponseTemplate::new(200).set_body_string("0.01\n"), "").await).0,
        Finding::Success
    );
}

#[tokio::test]
async fn unmeasurable_value_is_an_error() {
    let of = |answer| of_document(answer, "");
    assert_eq!(
        detail_of(&of(ResponseTemplate::new(503)).await),
        (Finding::Error, "HTTP 503")
    );
    let text = ResponseTemplate::new(200).set_body_string("<html>");
    assert_eq!(
        detail_of(&of(text).await),
        (Finding::Error, "the response is not valid JSON")
    );
    let long = ResponseTemplate::new(200).set_body_string(" ".repeat(2 << 20));
    assert_eq!(
        detail_of(&of(long).await),
        (
            Finding::Error,
            "HTTP 200, and the response is larger than 1 MiB"
        )
    );
    let closed = format!("http://user:secret@127.0.0.1:{}/", closed_port().await);
    let lost = measure_http(&closed, "", &below_five_percent(), DEADLINE).await;
    assert_eq!(lost.finding, Finding::Error);
    assert!(
        lost.detail.contains("refused") && !lost.detail.contains("secret"),
        "{}",
        lost.detail
    );
    let silent = format!(
        "http://127.0.0.1:{}/",
        raw_server(b"HTTP/1.1 200 OK\r\n", false).await
    );
    let late = measure_http(
        &silent,
        "",
        &below_five_percent(),
        Duration::from_millis(200),
    )
    .await;
    assert_eq!(detail_of(&late), (Finding::Error, "no answer within 200ms"));
}

/// What Prometheus' answer to a query is worth.
async fn of_prometheus(status: u16, answer: serde_json::Value) -> Measurement {
    let server = MockServer::start().await;
    Mock::given(path("/prom/api/v1/query"))
        .and(query_param(
            "query",
            "sum(rate(errors{code=~\"5..\"}[1m])) / 2",
        ))
        .respond_with(ResponseTemplate::new(status).set_body_json(answer))
        .mount(&server)
        .await;
    let (address, query) = (
        format!("{}/prom/", server.uri()),
        "sum(rate(errors{code=~\"5..\"}[1m])) / 2",
    );
    measure_prometheus(&address, query, &below_five_percent(), DEADLINE).await
}

#[tokio::test]
async fn prometheus_answers_with_a_scalar_or_with_a_vector_of_one() {
    let answer = |kind: &str, result: serde_json::Value| {
        of_prometheus(
            200,
            serde_json::json!({ "status": "success", "data": { "resultType": kind, "result": result } }),
        )
    };
    let element =
        |value: &str| serde_json::json!({ "metric": {}, "value": [1_700_000_000.5, value] });
    let scalar = serde_json::json!([1_700_000_000.5, "0.01"]);
    assert_eq!(
        detail_of(&answer("scalar", scalar).await),
        (Finding::Success, "1% is < 5%")
    );
    let one = serde_json::json!([element("0.07")]);
    assert_eq!(
        detail_of(&answer("vector", one).await),
        (Finding::Failure, "7% is not < 5%")
    );
    let none = serde_json::json!([]);
    assert_eq!(
        detail_of(&answer("vector", none).await),
        (Finding::Inconclusive, "the query returned no elements")
    );
    let nan = serde_json::json!([element("NaN")]);
    assert_eq!(
        detail_of(&answer("vector", nan).await),
        (Finding::Inconclusive, "NaN is not a number")
    );
    let two = serde_json::json!([element("0"), element("1")]);
    let (finding, detail) = (
        Finding::Error,
        "the query returned 2 elements; aggregate them to one, for example with sum()",
    );
    assert_eq!(detail_of(&answer("vector", two).await), (finding, detail));
    assert_eq!(
        detail_of(&answer("matrix", serde_json::json!([])).await).0,
        Finding::Error
    );
}

#[tokio::test]
async fn prometheus_says_itself_what_is_wrong_with_a_query() {
    let wrong = serde_json::json!({ "status": "error", "errorType": "bad_data", "error": "parse error: unclosed" });
    assert_eq!(
        detail_of(&of_prometheus(400, wrong).await),
        (Finding::Error, "HTTP 400: parse error: unclosed")
    );
}
