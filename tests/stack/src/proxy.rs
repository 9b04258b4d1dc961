//! A server in front of a real one that answers as told, one request a connection.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It goes through.
    Pass,
    /// 500, and the server hears nothing of it.
    Fail,
    /// The server does it, and the answer is 500.
    DoAndFail,
    /// The server does it, and the connection breaks before the answer.
    DoAndBreak,
}

type Rule = Box<dyn Fn(&str) -> Then + Send>;

/// One that runs as long as its program.
pub struct Proxy {
    /// `http://HOST:PORT` of it.
    pub uri: String,
    rule: Arc<Mutex<Rule>>,
}

impl Proxy {
    /// In front of `http://HOST:PORT`; everything goes through.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(target: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let uri = format!("http://{}", listener.local_addr()?);
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(|_| Then::Pass)));
        let (target, rules) = (target.trim_start_matches("http://").to_owned(), Arc::clone(&rule));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (target, rules) = (target.clone(), Arc::clone(&rules));
                tokio::spawn(async move {
                    let _ = serve(client, &target, &rules).await;
                });
            }
        });
        Ok(Self { uri, rule })
    }

    /// From now on, by the request's head (`PUT /warehouse/x?partNumber=2 HTTP/1.1`, then its headers).
    pub fn rule(&self, rule: impl Fn(&str) -> Then + Send + 'static) {
        *locked(&self.rule) = Box::new(rule);
    }
}

fn locked(rule: &Mutex<Rule>) -> MutexGuard<'_, Rule> {
    rule.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(mut client: TcpStream, target: &str, rule: &Mutex<Rule>) -> io::Result<()> {
    let mut request = Vec::new();
    let end = loop {
        if let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&request[..end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    while request.len() < end + length.unwrap_or(0) {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let then = locked(rule)(&head);
    let mut answer = Vec::new();
    if then != Then::Fail {
        let mut server = TcpStream::connect(target).await?;
        server.write_all(&request[..end - 2]).await?;
        server.write_all(b"connection: close\r\n\r\n").await?;
        server.write_all(&request[end..]).await?;
        server.read_to_end(&mut answer).await?;
    }
    if then == Then::DoAndBreak {
        return Ok(());
    }
    if then != Then::Pass {
        answer = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}".to_vec();
    }
    client.write_all(&answer).await?;
    client.shutdown().await
}
