use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// A short text frame without a mask.
const TEXT: [u8; 4] = [0x81, 2, b'h', b'i'];
const BYE: [u8; 4] = [0x88, 2, 0x03, 0xe9];

struct Stage {
    client: DuplexStream,
    upstream: DuplexStream,
    ends: Ends<DuplexStream, DuplexStream>,
}

fn stage(room: usize) -> Stage {
    let ((client, near), (upstream, far)) = (tokio::io::duplex(room), tokio::io::duplex(room));
    let ends = Ends { client: near, upstream: far, up: Way::new(Peer::Server), down: Way::new(Peer::Client) };
    Stage { client, upstream, ends }
}

async fn pass(ends: &mut Ends<DuplexStream, DuplexStream>, leaving: Option<Goodbye>) {
    poll_fn(|cx| ends.poll(leaving, cx).1).await.expect("no end breaks");
}

/// Passes what can pass at once.
async fn pass_some(ends: &mut Ends<DuplexStream, DuplexStream>, leaving: Option<Goodbye>) {
    poll_fn(|cx| {
        assert!(ends.poll(leaving, cx).1.is_pending(), "it goes on");
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn bytes_pass_as_they_are_and_each_way_ends_by_itself() {
    let Stage { mut client, mut upstream, mut ends } = stage(7);
    let (up, down): (Vec<u8>, Vec<u8>) = ((0..=255).cycle().take(100_000).collect(), vec![0xff; 70_000]);
    let client = async {
        let (mut read, mut write) = tokio::io::split(&mut client);
        let send = async {
            write.write_all(&up).await.expect("it is taken");
            write.shutdown().await.expect("it is closed");
        };
        let mut heard = Vec::new();
        let (heard, ()) = tokio::join!(read.read_to_end(&mut heard), send);
        heard.expect("the other way outlasts this one")
    };
    let service = async {
        let mut heard = Vec::new();
        upstream.read_to_end(&mut heard).await.expect("it arrives");
        assert!(heard == up, "the bytes are the same");
        upstream.write_all(&down).await.expect("it is taken");
        upstream.shutdown().await.expect("it is closed");
    };
    let (heard, (), ()) = tokio::join!(client, service, pass(&mut ends, None));
    assert_eq!((heard, ends.up.passed, ends.down.passed), (70_000, 100_000, 70_000));
}

#[tokio::test]
async fn a_side_that_takes_nothing_stops_the_other() {
    let Stage { mut client, upstream: _upstream, mut ends } = stage(1024);
    let mut taken = 0;
    for _ in 0..100 {
        let piece = tokio::time::timeout(Duration::ZERO, client.write(&[0; 1024])).await;
        taken += piece.map_or(0, |written| written.expect("it is open"));
        pass_some(&mut ends, None).await;
    }
    assert!(taken <= 3 * 1024, "{taken} bytes were taken for an upstream that does not read");
}

#[tokio::test]
async fn the_goodbye_waits_for_the_end_of_an_open_frame_and_nothing_follows_it() {
    let Stage { mut client, mut upstream, mut ends } = stage(1024);
    upstream.write_all(&TEXT[..3]).await.expect("it is taken");
    pass_some(&mut ends, None).await;
    pass_some(&mut ends, Some(Goodbye::GoingAway)).await;
    let mut heard = [0; 7];
    assert_eq!(client.read(&mut heard).await.expect("it is open"), 3, "half a frame, and no more");
    upstream.write_all(&[&TEXT[3..], &TEXT].concat()).await.expect("it is taken");
    pass_some(&mut ends, Some(Goodbye::GoingAway)).await;
    assert_eq!(client.read(&mut heard).await.expect("it is open"), 5);
    assert_eq!(heard[..5], [&TEXT[3..], &BYE].concat());
    let mut told = [0; 16];
    assert_eq!(upstream.read(&mut told).await.expect("it is open"), 8, "the upstream is told by a masked frame");
    assert_eq!((told[0], told[1], told[6] ^ told[2], told[7] ^ told[3]), (0x88, 0x82, 0x03, 0xe9));
    client.write_all(&[0x88, 0x80, 1, 2, 3, 4]).await.expect("it is taken");
    upstream.write_all(&BYE).await.expect("it is taken");
    pass(&mut ends, Some(Goodbye::GoingAway)).await;
    assert_eq!(client.read(&mut heard).await.expect("it is closed"), 0);
}

#[tokio::test]
async fn who_has_said_goodbye_hears_none() {
    let Stage { mut client, mut upstream, mut ends } = stage(1024);
    upstream.write_all(&BYE).await.expect("it is taken");
    pass_some(&mut ends, None).await;
    upstream.write_all(&TEXT).await.expect("it is taken");
    client.write_all(&[0x88, 0x80, 1, 2, 3, 4]).await.expect("it is taken");
    pass_some(&mut ends, None).await;
    pass(&mut ends, Some(Goodbye::GoingAway)).await;
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.expect("it is closed");
    assert_eq!(heard, [BYE, TEXT].concat());
}
