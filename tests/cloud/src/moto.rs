//! moto in a process of its own, spoken to through its standard input and output, one line each way.
//! It ends with the pipe, whatever becomes of this process. Knows no HTTP.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};

use crate::within;

/// Where to find Python with moto, if not in `.tools/moto`.
const PYTHON: &str = "SHELLGATE_MOTO_PYTHON";

/// Questions that wait: as many as there are connections, and a few of the test's own.
const QUEUE: usize = 1024;

/// A way to ask it. Answers come in the order of the questions.
#[derive(Debug, Clone)]
pub(crate) struct Moto {
    questions: mpsc::Sender<Question>,
}

#[derive(Debug)]
struct Question {
    line: String,
    answer: oneshot::Sender<Value>,
}

impl Moto {
    /// Has moto do something. `Err` is what went wrong in it.
    pub(crate) async fn ask(&self, what: &str, mut arguments: Value) -> Result<Value, String> {
        arguments["do"] = json!(what);
        let (answer, answered) = oneshot::channel();
        let question = Question { line: format!("{arguments}\n"), answer };
        let gone = || "moto has ended".to_owned();
        self.questions.send(question).await.map_err(|_| gone())?;
        let mut answer = answered.await.map_err(|_| gone())?;
        match answer.get_mut("failed").map(Value::take) {
            Some(failed) => Err(failed.as_str().unwrap_or("no reason given").to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }
}

/// The process.
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    questions: mpsc::Receiver<Question>,
}

impl Process {
    /// Starts it, and waits until it is ready.
    pub(crate) async fn start() -> Result<(Self, Moto), String> {
        let root = workspace();
        let own = std::env::var_os(PYTHON).map(PathBuf::from);
        let python = own.unwrap_or_else(|| root.join(".tools/moto/bin/python"));
        let mut child = Command::new(&python)
            // Whatever this machine's user has set up for Python is of other programs.
            .arg("-Es")
            .arg(root.join("tests/cloud/moto/main.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                let python = python.display();
                format!("no moto ({python}: {error}): `make test` sets it up, or {PYTHON} names it")
            })?;
        let input = child.stdin.take().ok_or("no pipe")?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no pipe")?).lines();
        match within("moto is ready", output.next_line()).await {
            Ok(Some(_)) => {}
            Ok(None) => return Err(format!("moto ended at once, run by {}", python.display())),
            Err(error) => return Err(format!("moto: {error}")),
        }
        let (sender, questions) = mpsc::channel(QUEUE);
        Ok((Self { child, input, output, questions }, Moto { questions: sender }))
    }

    /// Its number.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Hands questions over, one by one, until nobody can ask any more or the process has ended.
    pub(crate) async fn serve(&mut self) {
        while let Some(Question { line, answer }) = self.questions.recv().await {
            let said = async {
                self.input.write_all(line.as_bytes()).await.ok()?;
                let line = self.output.next_line().await.ok()??;
                serde_json::from_str(&line).ok()
            };
            let Some(said) = within("moto answers", said).await else { return };
            // Whoever asked may have gone away.
            let _ = answer.send(said);
        }
    }

    /// Ends it, and waits until it has.
    pub(crate) async fn end(mut self) {
        // It can only fail where the process has ended already.
        let _ = self.child.kill().await;
    }
}

/// Of the sources that Cargo runs this from, since a target folder may have been copied there from
/// where it was built.
fn workspace() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let package = package.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let root = package.ancestors().find(|folder| folder.join("Cargo.lock").exists());
    root.unwrap_or(&package).to_path_buf()
}
