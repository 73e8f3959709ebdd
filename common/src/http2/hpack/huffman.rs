//! Strings in Huffman code → their octets (RFC 7541 §5.2, Appendix B).
//!
//! The code is canonical: within a length, codes rise with their symbols. So the lengths alone say everything, and the
//! tables are made of them by the compiler. Codes of up to eight bits, which is what texts consist of, are looked up at
//! once; longer ones are found by their length. Nothing of ours is sent in this code: it costs more than it saves.

/// Bits of the code of each octet, and of EOS at the end (Appendix B).
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
    30,
];

/// Bits of the longest code.
const LONGEST: usize = 30;
/// Bits that are looked up at once.
const SHORT: usize = 8;

/// What decoding needs to know.
struct Codes {
    /// By the next eight bits: symbol and length of the code that they begin with; length 0 where it is longer.
    short: [(u8, u8); 1 << SHORT],
    /// By length, 32 bits long: where the codes of this length end.
    ends: [u64; LONGEST + 1],
    /// By length: the first code, and the place of its symbol in `symbols`.
    firsts: [(u32, usize); LONGEST + 1],
    /// Symbols in the order of their codes.
    symbols: [u16; 257],
}

static CODES: Codes = Codes::new();

impl Codes {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "symbols of short codes are octets; lengths are up to 30"
    )]
    const fn new() -> Self {
        let mut codes = Self {
            short: [(0, 0); 1 << SHORT],
            ends: [0; LONGEST + 1],
            firsts: [(0, 0); LONGEST + 1],
            symbols: [0; 257],
        };
        let (mut code, mut place, mut length) = (0_u32, 0, 1);
        while length <= LONGEST {
            code <<= 1;
            codes.firsts[length] = (code, place);
            let mut symbol = 0;
            while symbol < LENGTHS.len() {
                if LENGTHS[symbol] as usize == length {
                    codes.symbols[place] = symbol as u16;
                    if length <= SHORT {
                        let mut below = 0;
                        while below < 1 << (SHORT - length) {
                            codes.short[(code as usize) << (SHORT - length) | below] = (symbol as u8, length as u8);
                            below += 1;
                        }
                    }
                    place += 1;
                    code += 1;
                }
                symbol += 1;
            }
            codes.ends[length] = (code as u64) << (32 - length);
            length += 1;
        }
        codes
    }

    /// The symbol whose code of more than eight bits begins these 32, and its length; `None` for EOS.
    fn long(&self, bits: u32) -> Option<(u8, u32)> {
        let length = (SHORT + 1..=LONGEST).find(|length| u64::from(bits) < self.ends[*length])?;
        let (first, place) = self.firsts[length];
        let code = bits >> (32 - length);
        let symbol = self.symbols.get(place + (code - first) as usize)?;
        Some((u8::try_from(*symbol).ok()?, u32::try_from(length).ok()?))
    }
}

/// Appends the octets that `coded` stands for; `None` where it is no string, and then something may have been appended.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Option<()> {
    // Five bits are the shortest code.
    out.reserve(coded.len() * 8 / 5);
    // The next bits, the first of them on top, and how many there are.
    let (mut window, mut have, mut rest) = (0_u64, 0_u32, coded);
    loop {
        if have < 32 {
            if let Some((four, after)) = rest.split_first_chunk() {
                window |= u64::from(u32::from_be_bytes(*four)) << (32 - have);
                (have, rest) = (have + 32, after);
            } else {
                for octet in std::mem::take(&mut rest) {
                    window |= u64::from(*octet) << (56 - have);
                    have += 8;
                }
            }
        }
        let (symbol, length) = match CODES.short[(window >> 56) as usize] {
            (_, 0) => {
                let bits = u32::try_from(window >> 32).ok()?;
                // Before EOS is looked for, which begins like padding.
                if have < 8 {
                    return is_padding(window, have).then_some(());
                }
                CODES.long(bits)?
            }
            (symbol, length) => (symbol, u32::from(length)),
        };
        if length > have {
            return is_padding(window, have).then_some(());
        }
        out.push(symbol);
        window <<= length;
        have -= length;
    }
}

/// "A padding strictly longer than 7 bits MUST be treated as a decoding error. A padding not corresponding to the most
/// significant bits of the code for the EOS symbol MUST be treated as a decoding error. A Huffman-encoded string literal
/// containing the EOS symbol MUST be treated as a decoding error." (§5.2)
const fn is_padding(window: u64, bits: u32) -> bool {
    bits < 8 && window == !(u64::MAX >> bits)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The codes themselves, made in another way than above: one after the other, longer ones one bit further.
    pub(in crate::http2::hpack) fn encode(octets: &[u8]) -> Vec<u8> {
        let mut symbols: Vec<usize> = (0..LENGTHS.len()).collect();
        symbols.sort_by_key(|symbol| (LENGTHS[*symbol], *symbol));
        let mut codes = vec![String::new(); LENGTHS.len()];
        let (mut code, mut length) = (0_u32, LENGTHS[symbols[0]]);
        for symbol in symbols {
            code <<= LENGTHS[symbol] - length;
            length = LENGTHS[symbol];
            codes[symbol] = format!("{code:0width$b}", width = usize::from(length));
            code += 1;
        }
        let mut bits: String = octets.iter().map(|octet| &*codes[usize::from(*octet)]).collect();
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        bits.as_bytes()
            .chunks(8)
            .map(|octet| u8::from_str_radix(str::from_utf8(octet).unwrap(), 2).unwrap())
            .collect()
    }

    fn decoded(coded: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    #[test]
    fn the_code_is_that_of_appendix_b() {
        // One code of each kind as it is printed there, left-aligned and padded.
        for (symbol, coded) in [
            (b'0', &[0b0000_0111][..]),
            (b'%', &[0b0101_0111]),
            (b':', &[0b1011_1001]),
            (b'Z', &[0b1111_1101]),
            (b'!', &[0b1111_1110, 0b0011_1111]),
            (b'\'', &[0b1111_1111, 0b0101_1111]),
            (b'#', &[0b1111_1111, 0b1010_1111]),
            (b'$', &[0b1111_1111, 0b1100_1111]),
            (b'^', &[0b1111_1111, 0b1111_0011]),
            (b'<', &[0b1111_1111, 0b1111_1001]),
            (b'\\', &[0xff, 0xfe, 0x1f]),
            (0x80, &[0xff, 0xfe, 0x6f]),
            (1, &[0xff, 0xff, 0xb1]),
            (9, &[0xff, 0xff, 0xea]),
            (0xc7, &[0xff, 0xff, 0xf6, 0x7f]),
            (0xc0, &[0xff, 0xff, 0xf8, 0x3f]),
            (0xf9, &[0xff, 0xff, 0xff, 0xef]),
            (10, &[0xff, 0xff, 0xff, 0xf3]),
            (22, &[0xff, 0xff, 0xff, 0xfb]),
        ] {
            assert_eq!(encode(&[symbol]), coded, "{symbol}");
            assert_eq!(decoded(coded), Some(vec![symbol]), "{symbol}");
        }
        assert!(CODES.ends[LONGEST] == 1 << 32, "the code is complete");
        assert_eq!(CODES.symbols[256], 256, "EOS is the last");
    }

    #[test]
    fn padding_is_short_and_made_of_ones_and_eos_is_refused() {
        for (coded, text) in [
            (&[][..], Some(&b""[..])),
            (&[0b0001_1111], Some(b"a")),
            (&[0b0001_1110], None),       // padding of 110
            (&[0b0001_1000], None),       // zeros
            (&[0b0001_1111, 0xff], None), // eleven bits
            (&[0xff], None),              // eight bits of padding and no text
            (&[0xff, 0xff], None),
            (&[0xff, 0xff, 0xff, 0xff], None), // EOS
            (&[0x1f, 0xff, 0xff, 0xff, 0xff], None),
            (&[0xff, 0xff, 0xff, 0xf3], Some(b"\n")),
            (&[0xff, 0xff, 0xff, 0xf0], None), // "\n" cut
            (&[0x49, 0x50, 0x9f], Some(b"test")),
            (&[0x49, 0x50, 0x9e], None),
        ] {
            assert_eq!(decoded(coded).as_deref(), text, "{coded:x?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_coded_is_decoded(octets: Vec<u8>) {
            let coded = encode(&octets);
            prop_assert_eq!(decoded(&coded), Some(octets));
        }

        #[test]
        fn what_decodes_was_coded_so(coded: Vec<u8>) {
            if let Some(octets) = decoded(&coded) {
                prop_assert_eq!(encode(&octets), coded);
            }
        }
    }
}
