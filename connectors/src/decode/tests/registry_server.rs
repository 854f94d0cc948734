//! A server that answers as a schema registry does. The tests of the engine use this file too.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// What the server answers by path, and the requests that it has had: path and authorization.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) by_path: BTreeMap<String, (u16, String)>,
    pub(crate) asked: Vec<(String, String)>,
    /// How many requests are still answered with 503.
    pub(crate) away: usize,
    /// The end of the authorization without which it answers with 401.
    pub(crate) only: Option<String>,
}

/// Starts a registry. It ends with the test.
pub(crate) fn serve(answers: &[(&str, u16, String)]) -> (String, Arc<Mutex<Answers>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let by_path = answers.iter().map(|(path, status, body)| ((*path).to_owned(), (*status, body.clone()))).collect();
    let shared = Arc::new(Mutex::new(Answers { by_path, ..Answers::default() }));
    let answers = Arc::clone(&shared);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let path = lines.next().unwrap().unwrap().split(' ').nth(1).unwrap().to_owned();
            let headers = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
            let authorization =
                headers.filter(|line| line.to_ascii_lowercase().starts_with("authorization:")).collect::<String>();
            let mut answers = answers.lock().unwrap();
            let is_known = answers.only.as_ref().is_none_or(|only| authorization.ends_with(only.as_str()));
            let (status, body) = match answers.by_path.get(&path) {
                _ if answers.away > 0 => (503, String::new()),
                _ if !is_known => (401, String::new()),
                Some(found) => found.clone(),
                None => (404, "{}".to_owned()),
            };
            answers.away = answers.away.saturating_sub(1);
            answers.asked.push((path, authorization));
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    (url, shared)
}
