//! Who answers at a database's address, where its driver can't make sense of it or hears nothing. PostgreSQL waits to be
//! spoken to and MySQL for its own greeting to be read, so each driver would wait for the other's server until its time is up.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::foreign::Server;
use crate::error::Error;
use crate::target::TargetError;

/// How long the address may take to accept,
const CONNECT: Duration = Duration::from_secs(1);
/// and to say something each time.
const ANSWER: Duration = Duration::from_millis(500);
/// PostgreSQL's question for TLS, which is answered by a single letter.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// What an empty line ends is a request to a web server, if a bad one.
const LINE_ENDS: &[u8] = b"\r\n\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    Postgres,
    MySql,
    Http,
    /// Nothing but TLS, from the first byte on.
    Tls,
}

/// The error for an address where something else than the wanted server answers. It begins with `doing`.
pub(super) fn stranger(doing: &str, wanted: Server, address: SocketAddr) -> Option<TargetError> {
    let (what, advice) = match (who_answers(address)?, wanted) {
        (Speaker::Postgres, Server::MySql) => (
            "a PostgreSQL server answers there",
            "--target postgres://USER@HOST:PORT/DATABASE, or the port of MySQL (3306)",
        ),
        (Speaker::MySql, Server::Postgres) => (
            "a MySQL or MariaDB server answers there",
            "--target mysql://USER@HOST:PORT/DATABASE, or the port of PostgreSQL (5432)",
        ),
        (Speaker::Http, Server::Postgres) => (
            "a web server (HTTP) answers there",
            "the port of PostgreSQL (5432)",
        ),
        (Speaker::Http, Server::MySql) => (
            "a web server (HTTP) answers there",
            "the port of MySQL (3306)",
        ),
        (Speaker::Tls, Server::Postgres) => (
            "what answers there speaks TLS from the first byte on, as a web server does (HTTPS)",
            "the port of PostgreSQL (5432); or sslnegotiation=direct, where a proxy before it ends TLS",
        ),
        (Speaker::Tls, Server::MySql) => (
            "what answers there speaks TLS from the first byte on, as a web server does (HTTPS)",
            "the port of MySQL (3306)",
        ),
        (Speaker::Postgres, Server::Postgres) | (Speaker::MySql, Server::MySql) => return None,
    };
    Some(TargetError::Fatal(
        Error::usage(format!("{doing}: {what}")).advise(advice),
    ))
}

fn who_answers(address: SocketAddr) -> Option<Speaker> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.set_write_timeout(Some(ANSWER)).ok()?;
    for said in [&[][..], &SSL_REQUEST, LINE_ENDS] {
        stream.write_all(said).ok()?;
        let mut answer = [0; 16];
        match stream.read(&mut answer) {
            // It has hung up.
            Ok(0) => return None,
            Ok(length) => return recognise(&answer[..length]),
            // It waits.
            Err(_) => {}
        }
    }
    None
}

fn recognise(answer: &[u8]) -> Option<Speaker> {
    match answer {
        [b'S' | b'N'] => Some(Speaker::Postgres),
        // A packet is of so many bytes and has a number; the first says the protocol's version, or that there is an error.
        [_, _, _, 0, 10 | 255, ..] => Some(Speaker::MySql),
        [b'H', b'T', b'T', b'P', b'/', ..] => Some(Speaker::Http),
        // An alert.
        [21, 3, ..] => Some(Speaker::Tls),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What answers so, after it has read so many bytes.
    fn server(reads: usize, says: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = vec![0; reads];
            stream.read_exact(&mut heard).unwrap();
            stream.write_all(says).unwrap();
            // Until the other side hangs up.
            let _ = stream.read(&mut heard);
        });
        address
    }

    #[test]
    fn servers_are_told_by_what_they_say_and_when() {
        for (reads, says, speaker) in [
            (0, &b"\x4a\0\0\0\x0a8.0.36\0"[..], Some(Speaker::MySql)),
            (0, b"\x47\0\0\0\xff\x6a\x04Host", Some(Speaker::MySql)),
            (8, b"S", Some(Speaker::Postgres)),
            (8, b"N", Some(Speaker::Postgres)),
            (8, b"HTTP/1.1 400 Bad Request\r\n", Some(Speaker::Http)),
            (12, b"HTTP/1.1 400 Bad Request\r\n", Some(Speaker::Http)),
            (8, b"\x15\x03\x01\0\x02\x02\x46", Some(Speaker::Tls)),
            (0, b"SSH-2.0-OpenSSH_9.2\r\n", None),
            (8, b"Nothing", None),
            (13, b"too late", None),
        ] {
            assert_eq!(who_answers(server(reads, says)), speaker, "{says:?}");
        }
        // Nothing listens there.
        assert_eq!(who_answers(SocketAddr::from(([127, 0, 0, 1], 1))), None);
    }

    #[test]
    fn the_server_that_was_meant_is_no_stranger() {
        let greets = || server(0, b"\x4a\0\0\0\x0a8.0.36\0");
        assert!(stranger("", Server::MySql, greets()).is_none());
        let Some(TargetError::Fatal(error)) = stranger("can't", Server::Postgres, greets()) else {
            panic!("it is another");
        };
        assert!(error.to_string().starts_with("can't: a MySQL"), "{error}");
        assert!(error.advice().unwrap().contains("mysql://"));
        assert!(stranger("", Server::Postgres, server(8, b"N")).is_none());
    }
}
