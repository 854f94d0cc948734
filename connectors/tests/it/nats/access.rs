//! Access: credentials, TLS, retention and server versions. No output contains a secret.

use std::path::Path;
use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const SECRET: &str = "hunter2-correct-horse";

async fn fill(context: &Context) {
    stream(context).await;
    publish(context, 1..=10, |_| "s.a".into()).await;
}

async fn refused(source: &NatsSource) {
    let (message, help) = config_error(source.extent().await.unwrap_err());
    assert!(message.contains("refuses the credentials"), "{message}");
    assert!(!message.contains("hunter") && !help.contains("hunter"), "{message} {help}");
    assert!(!format!("{source:?}").contains("hunter"), "{source:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_and_password() {
    for version in VERSIONS {
        let server = Server::start_with(version, &format!("authorization {{ user: me, password: \"{SECRET}\" }}"));
        let options = async_nats::ConnectOptions::with_user_and_password("me".into(), SECRET.into());
        fill(&jetstream::new(options.connect(server.url()).await.unwrap())).await;
        assert_eq!(read_all(&source(&server, "S", &[("user", "me"), ("password", SECRET)])).await.events, 10);
        refused(&source(&server, "S", &[("user", "me"), ("password", "hunter3")])).await;
        refused(&source(&server, "S", &[])).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token() {
    let server = Server::start_with(Version::Newest, &format!("authorization {{ token: \"{SECRET}\" }}"));
    let options = async_nats::ConnectOptions::with_token(SECRET.into());
    fill(&jetstream::new(options.connect(server.url()).await.unwrap())).await;
    assert_eq!(read_all(&source(&server, "S", &[("token", SECRET)])).await.events, 10);
    refused(&source(&server, "S", &[("token", "hunter3")])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nkey_as_seed_and_as_file() {
    // The key pair from the NATS documentation.
    let (seed, public) = (
        "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY",
        "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4",
    );
    let server = Server::start_with(Version::Newest, &format!("authorization {{ users: [ {{ nkey: {public} }} ] }}"));
    let options = async_nats::ConnectOptions::with_nkey(seed.into());
    fill(&jetstream::new(options.connect(server.url()).await.unwrap())).await;
    assert_eq!(read_all(&source(&server, "S", &[("nkey", seed)])).await.events, 10);
    let file = server.folder().join("seed");
    std::fs::write(&file, format!("{seed}\n")).unwrap();
    assert_eq!(read_all(&source(&server, "S", &[("nkey", file.to_str().unwrap())])).await.events, 10);
    let (message, _) = config_error(source(&server, "S", &[("nkey", "/nowhere")]).extent().await.unwrap_err());
    assert!(message.contains("/nowhere") && message.contains("'nkey'"), "{message}");
    let (message, _) = config_error(source(&server, "S", &[("creds", file.to_str().unwrap())]).extent().await.unwrap_err());
    assert!(message.contains("holds no NATS credentials") && !message.contains("SUACS"), "{message}");
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().expect("the program openssl");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_client_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(folder.path(), &format!("req -x509 {new_key} -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca"));
    for name in ["server", "client"] {
        openssl(folder.path(), &format!("req {new_key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        std::fs::write(folder.path().join("extensions"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
        openssl(
            folder.path(),
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem -days 2 -extfile extensions"
            ),
        );
    }
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (ca, certificate, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
    let configuration = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{ca}\", verify: true }}",
        path("server.pem"),
        path("server.key")
    );
    let server = Server::start_with(Version::Newest, &configuration);
    let options = async_nats::ConnectOptions::new()
        .add_root_certificates(ca.clone().into())
        .add_client_certificate(certificate.clone().into(), key.clone().into())
        .require_tls(true);
    fill(&jetstream::new(options.connect(server.url()).await.unwrap())).await;

    let whole = [("tls_ca", ca.as_str()), ("tls_cert", certificate.as_str()), ("tls_key", key.as_str())];
    let mut config = config(&server, "S", &whole);
    assert_eq!(read_all(&NatsSource::new(config.clone()).unwrap()).await.events, 10);
    config.location = config.location.replace("nats://", "tls://");
    assert_eq!(read_all(&NatsSource::new(config).unwrap()).await.events, 10);
    // Connecting fails without the CA of the server and without a client certificate.
    assert!(source(&server, "S", &whole[1..]).extent().await.is_err());
    assert!(source(&server, "S", &whole[..1]).extent().await.is_err());
    let missing = source(&server, "S", &[("tls_ca", "/nowhere")]).extent().await.unwrap_err();
    assert!(config_error(missing).0.contains("/nowhere"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retentions_that_reading_deletes_from_are_refused() {
    for version in VERSIONS {
        let server = Server::start(version);
        let context = jetstream(&server).await;
        for (retention, word) in
            [(stream::RetentionPolicy::WorkQueue, "workqueue"), (stream::RetentionPolicy::Interest, "interest")]
        {
            stream_with(&context, stream::Config { retention, ..Default::default() }).await;
            for source in [source(&server, "S", &[]), source(&server, "S", &[("subject", "s.a")])] {
                assert!(config_error(source.read(Start::First).await.unwrap_err()).0.contains(word));
                assert!(config_error(source.extent().await.unwrap_err()).0.contains(word));
            }
            let allowing = source(&server, "S", &[("allow_consuming_retention", "true")]);
            assert_eq!(allowing.read(Start::First).await.is_ok(), retention == stream::RetentionPolicy::Interest);
            context.delete_stream("S").await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_server_is_refused() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Speaks just enough of the protocol for a client to count as connected.
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let info = "INFO {\"server_id\":\"x\",\"server_name\":\"x\",\"version\":\"2.9.25\",\"proto\":1,\"go\":\"\",\"host\":\"127.0.0.1\",\
                    \"port\":4222,\"headers\":true,\"max_payload\":1048576,\"jetstream\":true,\"client_id\":1}\r\n";
        socket.write_all(info.as_bytes()).await.unwrap();
        let mut read = [0; 4096];
        while let Ok(length) = socket.read(&mut read).await {
            if length == 0 {
                return;
            }
            if String::from_utf8_lossy(&read[..length]).contains("PING") {
                socket.write_all(b"PONG\r\n").await.unwrap();
            }
        }
    });
    let server = Server::start(Version::Newest);
    let mut config = config(&server, "S", &[]);
    config.location = format!("nats://127.0.0.1:{port}/S");
    let (message, help) = config_error(NatsSource::new(config).unwrap().extent().await.unwrap_err());
    assert!(message.contains("2.9.25") && help.contains("2.10"), "{message} {help}");
}
