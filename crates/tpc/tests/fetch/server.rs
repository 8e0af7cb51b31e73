//! A web server whose every answer is scripted.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What is sent, and whether the connection stays open afterwards with nothing coming any more.
pub(crate) struct Reply {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) hang: bool,
}

impl Reply {
    pub(crate) fn new(head: &str, body: &[u8]) -> Self {
        Self { head: head.replace('\n', "\r\n") + "\r\n\r\n", body: body.to_vec(), hang: false }
    }

    pub(crate) fn hanging(self) -> Self {
        Self { hang: true, ..self }
    }
}

/// A question as it came.
#[derive(Clone)]
pub(crate) struct Question(pub(crate) String);

impl Question {
    pub(crate) fn path(&self) -> &str {
        self.0.split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.0.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Where the wanted part begins, if the version that the asker has is this one.
    pub(crate) fn from(&self, tag: &str) -> Option<usize> {
        let range = self.header("range").filter(|_| self.header("if-range") == Some(tag))?;
        range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    questions: Arc<Mutex<Vec<Question>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Answers question number `n`, from 0, with what `script` says.
    pub(crate) async fn start(script: impl Fn(usize, &Question) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let questions = Arc::new(Mutex::new(Vec::new()));
        let (script, asked) = (Arc::new(script), questions.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, asked) = (script.clone(), asked.clone());
                tokio::spawn(answer(stream, move |question| reply(&asked, &*script, question)));
            }
        });
        Self { address, questions, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn questions(&self) -> Vec<Question> {
        self.questions.lock().unwrap().clone()
    }
}

fn reply(
    asked: &Mutex<Vec<Question>>,
    script: &(dyn Fn(usize, &Question) -> Reply + Send + Sync),
    question: Question,
) -> Reply {
    let mut asked = asked.lock().unwrap();
    let reply = script(asked.len(), &question);
    asked.push(question);
    reply
}

/// Reads a question and sends what is said to it.
pub(crate) async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: impl FnOnce(Question) -> Reply,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let reply = script(Question(String::from_utf8(head).unwrap()));
    // The client may have gone: that is its right.
    let _ = stream.write_all(reply.head.as_bytes()).await;
    let _ = stream.write_all(&reply.body).await;
    let _ = stream.flush().await;
    if reply.hang {
        std::future::pending::<()>().await;
    }
    let _ = stream.shutdown().await;
}

/// A file with a tag, from where it is asked for on, of which at most `max` bytes arrive.
pub(crate) fn file(question: &Question, bytes: &[u8], tag: &str, max: usize) -> Reply {
    let all = bytes.len();
    let head = |status: &str, len: usize, more: &str| {
        format!("HTTP/1.1 {status}\nContent-Length: {len}\nETag: {tag}{more}")
    };
    match question.from(tag) {
        Some(from) if from >= all => {
            Reply::new(&head("416 Range Not Satisfiable", 0, &format!("\nContent-Range: bytes */{all}")), b"")
        }
        Some(from) => {
            let range = format!("\nContent-Range: bytes {from}-{}/{all}", all - 1);
            Reply::new(
                &head("206 Partial Content", all - from, &range),
                &bytes[from..all.min(from.saturating_add(max))],
            )
        }
        None => Reply::new(&head("200 OK", all, ""), &bytes[..all.min(max)]),
    }
}
