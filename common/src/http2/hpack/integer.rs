//! Integers whose first octet has some bits for them, and shares the others (RFC 7541 §5.1).

/// Octets that may follow the first one. Five hold 35 bits, which no length or index of ours needs; encoders that pad with
/// zeros may use all of them.
const MORE_MAX: usize = 5;

/// Takes an integer off the front of `block`; its first octet has `prefix` bits for it.
///
/// "Integer encodings that exceed implementation limits -- in value or octet length -- MUST be treated as decoding
/// errors" (§5.1): then, and where the block ends within it, this is `None`.
pub(super) fn take(block: &mut &[u8], prefix: u32) -> Option<usize> {
    let mask = (1_u8 << prefix) - 1;
    let (first, rest) = block.split_first()?;
    *block = rest;
    let start = first & mask;
    if start < mask {
        return Some(usize::from(start));
    }
    let mut value = u64::from(start);
    for place in 0..MORE_MAX {
        let (octet, rest) = block.split_first()?;
        *block = rest;
        value += u64::from(octet & 0x7f) << (7 * place);
        if octet & 0x80 == 0 {
            return u32::try_from(value).ok().and_then(|value| usize::try_from(value).ok());
        }
    }
    None
}

/// Appends an integer; `high` are the bits of its first octet that are not its own.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, high: u8, prefix: u32, value: usize) {
    let mask = (1_usize << prefix) - 1;
    if value < mask {
        out.push(high | low_octet(value));
        return;
    }
    out.push(high | low_octet(mask));
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(low_octet(rest & 0x7f) | 0x80);
        rest >>= 7;
    }
    out.push(low_octet(rest));
}

const fn low_octet(value: usize) -> u8 {
    value.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// But for the one of eight bits, which nothing in HPACK has: each first octet has a flag.
    #[test]
    fn the_examples_of_appendix_c_1() {
        for (value, prefix, octets) in [
            (10, 5, &[0b0000_1010][..]),
            (1337, 5, &[0b0001_1111, 0b1001_1010, 0b0000_1010]),
            (30, 5, &[30]),
            (31, 5, &[31, 0]),
        ] {
            let mut out = Vec::new();
            put(&mut out, 0, prefix, value);
            assert_eq!(out, octets);
            assert_eq!(take(&mut &*out, prefix), Some(value));
        }
    }

    #[test]
    fn what_is_cut_too_long_or_too_large_is_none() {
        for (octets, value) in [
            (&[][..], None),
            (&[31], None),
            (&[31, 0x80], None),
            // Zeros at the end that say nothing.
            (&[31, 0x81, 0x80, 0x80, 0x80, 0], Some(32)),
            (&[31, 0x81, 0x80, 0x80, 0x80, 0x80, 0], None),
            (&[31, 0xe0, 0xff, 0xff, 0xff, 0x0f], Some(u32::MAX as usize)),
            (&[31, 0xe1, 0xff, 0xff, 0xff, 0x0f], None),
            (&[31, 0xff, 0xff, 0xff, 0xff, 0xff], None),
            (&[31, 0xff, 0xff, 0xff, 0xff, 0x7f], None),
        ] {
            assert_eq!(take(&mut &*octets, 5), value, "{octets:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_put_is_taken(value in 0..=u32::MAX as usize, prefix in 4..=7_u32, rest: Vec<u8>) {
            let mut out = Vec::new();
            put(&mut out, 0x80, prefix, value);
            out.extend(&rest);
            let mut block = &*out;
            prop_assert_eq!(take(&mut block, prefix), Some(value));
            prop_assert_eq!(block, rest);
        }
    }
}
