//! Answers that come before their request is whole: they reach clients of every kind, and the connection is nobody's
//! afterwards.

use crate::harness::{Connection, Gateway, Listener, open_rule};
use std::thread;

const UPLOAD_BYTES: usize = 8 * 1024 * 1024;

fn begin_upload(gateway: &Gateway) -> Connection {
    let mut client = Connection::open(gateway.address);
    client.write(format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: {UPLOAD_BYTES}\r\n\r\n", gateway.address));
    client
}

#[test]
fn a_client_that_reads_only_when_it_has_written_all_gets_an_early_answer() {
    let app = Listener::bind();
    let gateway = Gateway::start(open_rule(&format!("{:?}", app.url())));
    // What comes before the upload is read, and what behind.
    for (early, late) in [("whole", ""), ("ha", "lf"), ("", "late")] {
        let mut client = begin_upload(&gateway);
        let mut upstream = app.accept();
        upstream.head().unwrap();
        let answering = thread::spawn(move || {
            let length = early.len() + late.len();
            upstream.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{early}"));
            let mut taken = 0;
            while taken < UPLOAD_BYTES {
                taken += upstream.some().expect("all of it comes").len();
            }
            upstream.write(late);
            upstream
        });
        client.write(vec![7; UPLOAD_BYTES]);
        let response = client.response(false).unwrap();
        assert_eq!((response.status(), response.text()), (200, format!("{early}{late}")));
        drop(answering.join().unwrap());
    }
}

#[test]
fn an_answer_is_read_though_the_upstream_takes_no_more_of_the_request() {
    let app = Listener::bind();
    let gateway = Gateway::start(open_rule(&format!("{:?}", app.url())));
    for _ in 0..20 {
        let mut client = begin_upload(&gateway);
        client.write(vec![7; 256 * 1024]);
        let mut upstream = app.accept();
        upstream.head().unwrap();
        upstream.write("HTTP/1.1 413 Too Much\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull");
        // With bytes that nobody has read.
        drop(upstream);
        let response = client.response(false).unwrap();
        assert_eq!((response.status(), response.text().as_str()), (413, "full"));
    }
}

#[test]
fn a_client_that_leaves_ends_its_upload_and_its_answer() {
    let app = Listener::bind();
    let gateway = Gateway::start(open_rule(&format!("{:?}", app.url())));
    let mut client = begin_upload(&gateway);
    let mut upstream = app.accept();
    upstream.head().unwrap();
    upstream.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
    assert_eq!(client.head().unwrap().status(), 200);
    client.close();
    assert!(upstream.ends());
}
