//! A headless Chromium: opens a page, runs expressions in it, takes pictures, keeps what its console said.
//!
//! Driven by the `DevTools` protocol over pipes (`--remote-debugging-pipe`: JSON messages, each ended by a zero byte).
//! It fetches nothing of its own and has a new profile each time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::programs::installed;
use crate::sys;
use crate::wait::{Deadline, eventually};

/// A browser with one page.
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: Value,
    sent: u64,
    complaints: Vec<String>,
    _profile: TempDir,
}

/// What the page is looked at with.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// CSS pixels.
    pub width: u32,
    /// CSS pixels.
    pub height: u32,
    /// `dark` or `light`.
    pub scheme: &'static str,
}

impl Browser {
    /// Starts one; `None`, and said aloud, when it is not installed.
    pub fn start() -> Option<Self> {
        let chromium = installed("chromium")?;
        let profile = TempDir::new().unwrap();
        // The protocol's pipes are the descriptors 3 and 4.
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 0</dev/null 1>/dev/null"#]);
        shell
            .arg(chromium.get_program())
            .args(QUIET)
            .arg(format!("--user-data-dir={}", profile.path().display()));
        // It leaves nothing in the home of who runs the tests.
        shell
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        sys::die_with_parent(&mut shell);
        let mut child = shell.spawn().unwrap();
        let (sender, messages) = channel();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|bytes| bytes > 0) {
                message.pop();
                let Ok(value) = serde_json::from_slice(&message) else {
                    break;
                };
                if sender.send(value).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let commands = child.stdin.take().unwrap();
        let mut browser = Self {
            child,
            commands,
            messages,
            session: Value::Null,
            sent: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.command("Target.createTarget", json!({"url": "about:blank"}))["targetId"].take();
        let attached = browser.command("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = attached["sessionId"].clone();
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            browser.command(domain, json!({}));
        }
        Some(browser)
    }

    /// Takes certificates that nobody has signed, such as those that tests make.
    #[track_caller]
    pub fn trust_any_certificate(&mut self) {
        self.command("Security.setIgnoreCertificateErrors", json!({"ignore": true}));
    }

    /// Opens a page on a screen.
    #[track_caller]
    pub fn open(&mut self, url: &str, screen: Screen) {
        let Screen { width, height, scheme } = screen;
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.command("Emulation.setDeviceMetricsOverride", metrics);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.command("Emulation.setEmulatedMedia", features);
        let opened = self.command("Page.navigate", json!({"url": url}));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let mut answer = self.command(
            "Runtime.evaluate",
            json!({"expression": expression, "returnByValue": true}),
        );
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait_until(&mut self, expression: &str) {
        eventually(&format!("the page says {expression}"), || {
            self.evaluate(expression) == Value::Bool(true)
        });
    }

    /// A picture of the whole page, as PNG.
    #[track_caller]
    pub fn take_picture(&mut self, file: &Path) {
        let size = self.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]");
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
        let picture = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let picture = self.command("Page.captureScreenshot", picture);
        std::fs::write(file, decoded(picture["data"].as_str().unwrap())).unwrap();
    }

    /// Errors and warnings of the console, exceptions, and what the page's policy forbade, so far.
    pub fn complaints(&mut self) -> &[String] {
        while let Ok(message) = self.messages.try_recv() {
            self.note(&message);
        }
        &self.complaints
    }

    #[track_caller]
    fn command(&mut self, method: &str, parameters: Value) -> Value {
        self.sent += 1;
        let mut message = json!({"id": self.sent, "method": method});
        message["params"] = parameters;
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).unwrap();
        let deadline = Deadline::soon();
        loop {
            let Ok(mut message) = self.messages.recv_timeout(deadline.left()) else {
                panic!("no answer from the browser to {method}");
            };
            if message["id"] == self.sent {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].take();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Value) {
        let parameters = &message["params"];
        let is_bad = match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => {
                matches!(parameters["type"].as_str(), Some("error" | "warning" | "assert"))
            }
            Some("Log.entryAdded") => matches!(parameters["entry"]["level"].as_str(), Some("error" | "warning")),
            _ => false,
        };
        if is_bad {
            self.complaints.push(parameters.to_string());
        }
    }
}

impl Drop for Browser {
    /// Asked to close, so that its own children end with it; killed when it does not.
    fn drop(&mut self) {
        drop(self.commands.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0"));
        let deadline = Deadline::soon();
        while !deadline.is_over() && self.messages.recv_timeout(deadline.left()).is_ok() {}
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// No window, no sandbox (tests run as root), no request of its own.
const QUIET: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
];

/// Base64 (RFC 4648 §4), as the protocol gives pictures.
fn decoded(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let sextets: Vec<u8> = text.bytes().map_while(value).collect();
    let bytes = sextets.chunks(4).flat_map(|group| {
        let bits = group.iter().fold(0_u32, |bits, sextet| bits << 6 | u32::from(*sextet)) << (6 * (4 - group.len()));
        bits.to_be_bytes().into_iter().skip(1).take(group.len() - 1)
    });
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn base64_is_decoded_with_and_without_padding() {
        for (text, expected) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decoded(text), expected.as_bytes(), "{text}");
        }
    }
}
