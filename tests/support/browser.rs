//! A real headless browser, controlled over two pipes (Chrome's `DevTools` protocol).

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::namespace;

/// The longest wait for a page.
const PAGE_DEADLINE: Duration = Duration::from_secs(30);

/// The program, and its Debian package.
pub const CHROMIUM: (&str, &str) = ("chromium", "chromium");

/// Without the user's profile, and without prompts.
const FLAGS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-default-browser-check",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
];

/// How a page is displayed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Appearance {
    /// The window's width, in CSS pixels.
    pub width: u32,
    /// Whether the reader prefers dark colours.
    pub dark: bool,
    /// Whether the page is shown without colours.
    pub grey: bool,
}

/// A browser with one page. It ends with its owner.
pub struct Browser {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    session: Option<String>,
    calls: u64,
    _home: TempDir,
}

impl Browser {
    pub fn start() -> Self {
        let home = TempDir::new().expect("a temporary directory");
        let data = home.path().join("data");
        // The browser expects the pipes as file descriptors 3 and 4.
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1",
                "sh",
                CHROMIUM.0,
            ])
            .args(FLAGS);
        command
            .arg(format!("--user-data-dir={}", data.display()))
            .arg("about:blank");
        command.env("HOME", home.path()).env("TMPDIR", home.path());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("a shell");
        let (stdin, stdout) = (
            child.stdin.take().expect("piped"),
            child.stdout.take().expect("piped"),
        );
        let stdout = BufReader::new(stdout);
        let mut browser = Self {
            child,
            stdin,
            stdout,
            session: None,
            calls: 0,
            _home: home,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        browser.call("Page.enable", &json!({}));
        browser
    }

    /// Opens a file with this appearance.
    pub fn open(&mut self, file: &Path, appearance: Appearance) {
        let metrics = json!({ "width": appearance.width, "height": 800, "deviceScaleFactor": 2, "mobile": appearance.width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        let scheme = if appearance.dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &media);
        let deficiency = if appearance.grey {
            "achromatopsia"
        } else {
            "none"
        };
        self.call(
            "Emulation.setEmulatedVisionDeficiency",
            &json!({ "type": deficiency }),
        );
        self.call(
            "Page.navigate",
            &json!({ "url": format!("file://{}", file.display()) }),
        );
        namespace::until("the page", PAGE_DEADLINE, || {
            (self.evaluate("location.protocol + document.readyState") == "file:complete")
                .then_some(())
        });
    }

    /// The value of an expression in the page.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true });
        self.call("Runtime.evaluate", &params)["result"]["value"].clone()
    }

    /// Takes a picture of the whole page.
    pub fn picture(&mut self, file: &Path) -> PathBuf {
        let params = json!({ "format": "png", "captureBeyondViewport": true });
        let data = self.call("Page.captureScreenshot", &params)["data"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let text = file.with_extension("base64");
        fs::write(&text, data).expect("a temporary file");
        let decode = format!("base64 -d {} > {}", text.display(), file.display());
        namespace::run("sh", &["-c", &decode]);
        fs::remove_file(text).expect("our own file");
        file.to_owned()
    }

    /// Calls a method and waits for its answer.
    #[track_caller]
    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": params });
        if let Some(session) = &self.session {
            call["sessionId"] = session.as_str().into();
        }
        self.stdin
            .write_all(format!("{call}\0").as_bytes())
            .expect("the browser is running");
        loop {
            let mut answer = Vec::new();
            self.stdout
                .read_until(0, &mut answer)
                .expect("the browser answers");
            assert!(!answer.is_empty(), "the browser has exited");
            let answer: Value =
                serde_json::from_slice(&answer[..answer.len() - 1]).expect("an answer in JSON");
            if answer["id"] == self.calls {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Closing the browser ends its helper processes, too.
        let _ = self
            .stdin
            .write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut self.stdout, &mut rest);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
