//! zlib, unpacked within bounds.

use super::{Fault, budget::BYTES_MAX};
use flate2::read::ZlibDecoder;
use std::io::Read;

/// Unpacks a zlib stream (RFC 1950) of at most [`BYTES_MAX`] unpacked bytes, with nothing behind it.
pub fn unpack(packed: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut unpacked = Vec::new();
    let mut decoder = ZlibDecoder::new(packed).take(BYTES_MAX as u64 + 1);
    decoder.read_to_end(&mut unpacked).map_err(|_| Fault("not zlib, or cut short"))?;
    if unpacked.len() > BYTES_MAX {
        return Err(Fault("longer than 1 MiB when unpacked"));
    }
    let consumed = decoder.get_ref().total_in();
    if consumed == packed.len() as u64 { Ok(unpacked) } else { Err(Fault("something follows the zlib stream")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::ZlibEncoder};
    use std::io::Write;

    fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("a Vec takes whatever is written");
        encoder.finish().expect("a Vec takes whatever is written")
    }

    #[test]
    fn what_was_packed_is_unpacked_up_to_the_limit() {
        assert_eq!(unpack(&pack(b"{}")).as_deref(), Ok(&b"{}"[..]));
        assert_eq!(unpack(&pack(&vec![7; BYTES_MAX])).map(|unpacked| unpacked.len()), Ok(BYTES_MAX));
        assert_eq!(unpack(&pack(&vec![7; BYTES_MAX + 1])), Err(Fault("longer than 1 MiB when unpacked")));
        assert!(unpack(&pack(&vec![7; BYTES_MAX * 64])).is_err());
    }

    #[test]
    fn what_is_cut_broken_or_followed_by_something_is_refused() {
        let packed = pack(b"{\"user\":{\"id\":42}}");
        for length in 0..packed.len() {
            assert!(unpack(&packed[..length]).is_err(), "{length}");
        }
        assert!(unpack(&[&packed[..], b"x"].concat()).is_err());
        let mut broken = packed;
        *broken.last_mut().expect("a stream is not empty") ^= 1;
        assert!(unpack(&broken).is_err());
    }
}
