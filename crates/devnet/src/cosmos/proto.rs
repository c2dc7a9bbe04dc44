//! As much of the protobuf encoding as a query of a balance takes.

const LENGTH_DELIMITED: u64 = 2;

/// A field that holds text or bytes.
pub(crate) fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, number << 3 | LENGTH_DELIMITED);
    put_varint(&mut out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    out
}

/// The first field of that number that holds text or bytes; nothing when there is none, or when
/// the message holds other kinds of fields before it.
pub(crate) fn find(mut message: &[u8], number: u64) -> Option<&[u8]> {
    while !message.is_empty() {
        let (tag, rest) = take_varint(message)?;
        if tag & 7 != LENGTH_DELIMITED {
            return None;
        }
        let (length, rest) = take_varint(rest)?;
        let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        if tag >> 3 == number {
            return Some(value);
        }
        message = rest;
    }
    None
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

fn take_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(u32::try_from(index).ok()? * 7)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_coin_is_read() {
        let coin = [field(1, b"stake"), field(2, b"42")].concat();
        assert_eq!(coin, b"\x0a\x05stake\x12\x0242");
        assert_eq!(find(&coin, 2), Some(&b"42"[..]));
        assert_eq!(find(&coin, 3), None);
        assert_eq!(find(&coin[..8], 2), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_found(number in 1_u64..1000, bytes: Vec<u8>, other: Vec<u8>) {
            let message = [field(number + 1, &other), field(number, &bytes)].concat();
            prop_assert_eq!(find(&message, number), Some(&bytes[..]));
        }

        #[test]
        fn no_bytes_are_a_panic(bytes: Vec<u8>, number: u64) {
            let _ = find(&bytes, number);
        }
    }
}
