//! A server that answers as a registry does, and the declaration of a source that asks it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use arrow::datatypes::{Field, Schema};

use crate::source::{BatchLimits, SourceConfig};

/// A source of a stream with these columns and options.
pub(in crate::decode) fn declared(fields: Vec<Field>, options: &[(&str, &str)]) -> SourceConfig {
    SourceConfig {
        name: "events".into(),
        stored_as: "NATS".into(),
        location: "nats://host/S".into(),
        folder: Default::default(),
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        columns: (0..fields.len()).collect(),
        declared: Arc::new(Schema::new(fields)),
        limits: BatchLimits::default(),
    }
}

/// What the server answers by path, and the requests that it has had: path and authorization.
#[derive(Default)]
pub(in crate::decode) struct Answers {
    pub(in crate::decode) by_path: BTreeMap<String, (u16, String)>,
    pub(in crate::decode) asked: Vec<(String, String)>,
}

/// Starts a registry. It ends with the test.
pub(in crate::decode) fn serve(answers: &[(&str, u16, String)]) -> (String, Arc<Mutex<Answers>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let by_path = answers.iter().map(|(path, status, body)| ((*path).to_owned(), (*status, body.clone()))).collect();
    let shared = Arc::new(Mutex::new(Answers { by_path, asked: Vec::new() }));
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
            let (status, body) = answers.by_path.get(&path).cloned().unwrap_or((404, "{}".to_owned()));
            answers.asked.push((path, authorization));
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    (url, shared)
}
