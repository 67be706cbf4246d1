//! A server of one thread that sleeps before it reads each ClientHello. In: address, chain, key. Out: an answer, late.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use e2e::certificates::Certificates;
use e2e::waiting::pause;
use rustls::{ServerConnection, Stream};

pub fn serve(address: &str, chain: &Path, key: &Path) {
    let config = Certificates { ca: PathBuf::new(), cert: chain.into(), key: key.into() }.server();
    let listener = TcpListener::bind(address).expect("the edge's own address");
    for plain in listener.incoming() {
        pause(300);
        let connection = ServerConnection::new(config.clone()).expect("a good configuration");
        // Who leaves is the next one's gain.
        let _ = plain.and_then(|plain| answer(connection, plain));
    }
}

fn answer(mut connection: ServerConnection, mut plain: TcpStream) -> std::io::Result<()> {
    let mut stream = Stream::new(&mut connection, &mut plain);
    let _ = stream.read(&mut [0; 1000])?;
    stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nok")?;
    stream.flush()?;
    connection.send_close_notify();
    connection.write_tls(&mut plain).map(drop)
}
