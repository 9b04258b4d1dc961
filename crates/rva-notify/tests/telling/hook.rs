//! A webhook that keeps what is posted, and answers as it is told to.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Post {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub json: Value,
}

pub struct Hook {
    address: SocketAddr,
    posted: Arc<Mutex<Vec<Post>>>,
}

impl Hook {
    /// Answers the first requests with these statuses, all later ones with 204.
    pub fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let posted = Arc::new(Mutex::new(Vec::new()));
        let mut statuses: VecDeque<u16> = statuses.iter().copied().collect();
        let kept = Arc::clone(&posted);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut headers, mut line) = (HeaderMap::new(), String::new());
                reader.read_line(&mut line).unwrap();
                assert!(line.starts_with("POST /shop/hook?key=abc "), "{line}");
                loop {
                    line.clear();
                    reader.read_line(&mut line).unwrap();
                    let Some((name, value)) = line.trim().split_once(": ") else { break };
                    headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
                }
                let length = headers["content-length"].to_str().unwrap().parse().unwrap();
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let json = serde_json::from_slice(&body).unwrap();
                let status = statuses.pop_front().unwrap_or(204);
                kept.lock().unwrap().push(Post { headers, body, json });
                let answer = format!("HTTP/1.1 {status} Told\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        Self { address, posted }
    }

    pub fn url(&self) -> String {
        format!("http://{}/shop/hook?key=abc", self.address)
    }

    pub fn posted(&self) -> Vec<Post> {
        self.posted.lock().unwrap().clone()
    }
}
