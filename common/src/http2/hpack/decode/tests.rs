//! The examples of RFC 7541 Appendix C, what must not decode, and what encoders of every taste may say.

use proptest::prelude::*;

use super::*;
use crate::http2::hpack::{encode, huffman};

/// The octets of hexadecimal digits with spaces.
fn octets(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn decode(decoder: &mut Decoder, block: &[u8], list_max: usize) -> (Result<(), Error>, Vec<String>) {
    let mut fields = Vec::new();
    let decoded = decoder.decode(block, list_max, &mut |field| {
        assert_eq!(field.known, Known::of(field.name), "{field:?}");
        let text = |octets| String::from_utf8_lossy(octets).into_owned();
        fields.push(format!("{}: {}", text(field.name), text(field.value)));
    });
    (decoded, fields)
}

/// Decodes blocks one after the other, as a section of Appendix C has them; with each its fields, and the table after it.
#[track_caller]
fn story(table_max: usize, blocks: &[(&str, &[&str], &[&str], usize)]) {
    let mut decoder = Decoder::new(table_max);
    for (block, fields, table, size) in blocks {
        let (decoded, found) = decode(&mut decoder, &octets(block), usize::MAX);
        assert_eq!(
            (decoded, found.as_slice()),
            (Ok(()), &fields.map_to_owned()[..]),
            "{block}"
        );
        assert_eq!(decoder.table.printed(), (table.map_to_owned(), *size), "{block}");
    }
}

trait MapToOwned {
    fn map_to_owned(&self) -> Vec<String>;
}

impl MapToOwned for &[&str] {
    fn map_to_owned(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}

#[test]
fn c_2_each_representation() {
    for (block, field, table, size) in [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            "custom-key: custom-header",
            &["custom-key: custom-header"][..],
            55,
        ),
        ("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path", &[], 0),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret", &[], 0),
        ("82", ":method: GET", &[], 0),
    ] {
        story(4096, &[(block, &[field], table, size)]);
    }
}

const FIRST: [&str; 4] = [
    ":method: GET",
    ":scheme: http",
    ":path: /",
    ":authority: www.example.com",
];
const SECOND: [&str; 5] = [
    ":method: GET",
    ":scheme: http",
    ":path: /",
    ":authority: www.example.com",
    "cache-control: no-cache",
];
const THIRD: [&str; 5] = [
    ":method: GET",
    ":scheme: https",
    ":path: /index.html",
    ":authority: www.example.com",
    "custom-key: custom-value",
];

#[test]
fn c_3_and_c_4_requests() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for blocks in [plain, coded] {
        let table = [THIRD[4], SECOND[4], FIRST[3]];
        story(
            4096,
            &[
                (blocks[0], &FIRST, &table[2..], 57),
                (blocks[1], &SECOND, &table[1..], 110),
                (blocks[2], &THIRD, &table, 164),
            ],
        );
    }
}

#[test]
fn c_5_and_c_6_responses_with_eviction() {
    const DATES: [&str; 2] = [
        "date: Mon, 21 Oct 2013 20:13:21 GMT",
        "date: Mon, 21 Oct 2013 20:13:22 GMT",
    ];
    const LOCATION: &str = "location: https://www.example.com";
    const COOKIE: &str = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    let plain = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d \
         546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f \
         6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b \
         2076 6572 7369 6f6e 3d31",
    ];
    let coded = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 \
         8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 \
         dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ];
    for blocks in [plain, coded] {
        story(
            256,
            &[
                (
                    blocks[0],
                    &[":status: 302", "cache-control: private", DATES[0], LOCATION],
                    &[LOCATION, DATES[0], "cache-control: private", ":status: 302"],
                    222,
                ),
                (
                    blocks[1],
                    &[":status: 307", "cache-control: private", DATES[0], LOCATION],
                    &[":status: 307", LOCATION, DATES[0], "cache-control: private"],
                    222,
                ),
                (
                    blocks[2],
                    &[
                        ":status: 200",
                        "cache-control: private",
                        DATES[1],
                        LOCATION,
                        "content-encoding: gzip",
                        COOKIE,
                    ],
                    &[COOKIE, "content-encoding: gzip", DATES[1]],
                    215,
                ),
            ],
        );
    }
}

#[test]
fn what_does_not_decode_is_a_compression_error() {
    for (block, what) in [
        ("80", "index 0"),
        ("be", "an index past the static table while the dynamic one is empty"),
        ("ff ff ff ff ff 7f", "an index without bounds"),
        ("7f 40 01 78", "a name's index past the tables"),
        ("40", "cut after the first octet"),
        ("40 01", "cut before the name"),
        ("40 01 78", "cut before the value"),
        ("40 01 78 02 79", "cut in the value"),
        ("ff", "cut in an integer"),
        ("00 81 ff 00", "a name whose padding is too long"),
        ("00 01 78 84 ff ff ff ff", "a value with EOS"),
        ("82 20", "a table size after a field"),
        ("3f e2 1f", "a table size past the limit"),
        ("3f e1 1f 3f e2 1f", "the second of two"),
    ] {
        let (decoded, _) = decode(&mut Decoder::new(4096), &octets(block), usize::MAX);
        assert_eq!(decoded, Err(Error::Compression), "{what}");
    }
    for block in ["", "20", "20 3f e1 1f 82", "3f 81 80 80 80 00 82"] {
        let (decoded, _) = decode(&mut Decoder::new(4096), &octets(block), usize::MAX);
        assert_eq!(decoded, Ok(()), "{block}");
    }
}

#[test]
fn a_list_that_is_too_large_is_cut_and_the_table_stays_right() {
    let mut decoder = Decoder::new(4096);
    // 34, then 35 octets, then the first again.
    let block = octets("40 01 61 01 62  40 01 63 02 64 64  bf");
    for (list_max, fields) in [(0, 0), (33, 0), (34, 1), (68, 1), (69, 2), (102, 2)] {
        let (decoded, found) = decode(&mut decoder, &block, list_max);
        assert_eq!((decoded, found.len()), (Err(Error::TooLarge), fields), "{list_max}");
    }
    assert_eq!(decode(&mut decoder, &block, 103).0, Ok(()));
    assert_eq!(decode(&mut decoder, &octets("bf be"), 1000).1, ["a: b", "c: dd"]);
    // What came later is not given, even where it were small enough.
    let (decoded, found) = decode(&mut decoder, &octets("82 00 01 78 7f 00  82 82"), 50);
    assert_eq!((decoded, found.len()), (Err(Error::Compression), 1), "and it was cut");
}

#[test]
fn a_name_may_be_that_of_the_entry_that_it_evicts() {
    let mut decoder = Decoder::new(40);
    let (_, found) = decode(&mut decoder, &octets("40 02 6162 01 63  7e 02 6465  be"), 1000);
    assert_eq!(found, ["ab: c", "ab: de", "ab: de"]);
    assert_eq!(decoder.table.printed(), (vec!["ab: de".to_owned()], 36));
}

#[test]
fn a_bomb_costs_what_it_brings() {
    // One entry of four thousand octets, named a million times: nothing is given beyond the limit, and nothing is held.
    let mut block = vec![0x40, 1, b'x'];
    integer::put(&mut block, 0, 7, 4000);
    block.extend([b'y'; 4000]);
    block.extend(vec![0xbe; 1 << 20]);
    let (mut decoder, mut given) = (Decoder::new(4096), 0);
    let decoded = decoder.decode(&block, 16 << 10, &mut |field| given += table::size(&field));
    assert_eq!((decoded, given), (Err(Error::TooLarge), 4 * 4033));
    assert!(decoder.scratch.capacity() <= SCRATCH_KEPT);
    // Thousands of entries are not kept beyond the table.
    let many: Vec<u8> = (0..100_000_u32).flat_map(|_| [0x40, 0, 1, b'x']).collect();
    assert_eq!(decode(&mut decoder, &many, 0).0, Err(Error::TooLarge));
    assert_eq!(decoder.table.printed().1, 124 * 33);
    assert!(decoder.table.held() < 16 << 10);
}

/// What an encoder does about a field.
#[derive(Clone, Debug)]
struct Said {
    name: String,
    value: String,
    form: u8,
    codes_name: bool,
    codes_value: bool,
    resizes: Option<usize>,
}

fn said() -> impl Strategy<Value = Said> {
    let name = prop::sample::select(vec![":path", "cookie", "x-a", "x-b", "etag", "te"]);
    let parts = (name, "[a-zA-Z0-9 ;]{0,60}", 0..3_u8, any::<bool>(), any::<bool>());
    (parts, prop::option::weighted(0.05, 0..300_usize)).prop_map(
        |((name, value, form, codes_name, codes_value), resizes)| Said {
            name: name.to_owned(),
            value,
            form,
            codes_name,
            codes_value,
            resizes,
        },
    )
}

/// An encoder with a table of its own, which is a list.
struct Encoder {
    table: Vec<(String, String)>,
    max: usize,
}

impl Encoder {
    fn put(&mut self, out: &mut Vec<u8>, said: &Said) {
        let all: Vec<(&str, &str)> = table::STATIC
            .iter()
            .copied()
            .chain(self.table.iter().map(|(name, value)| (&**name, &**value)))
            .collect();
        let (name, value) = (&*said.name, &*said.value);
        if let Some(place) = all.iter().position(|field| *field == (name, value)) {
            return integer::put(out, 0x80, 7, place + 1);
        }
        let (high, prefix) = [(0x40, 6), (0, 4), (0x10, 4)][usize::from(said.form)];
        // The newest entry with this name, to try the dynamic table as well.
        let place = all
            .iter()
            .rposition(|field| field.0 == name)
            .filter(|_| !said.codes_name);
        integer::put(out, high, prefix, place.map_or(0, |place| place + 1));
        if place.is_none() {
            text(out, name, said.codes_name);
        }
        text(out, value, said.codes_value);
        if said.form == 0 {
            self.table.insert(0, (name.to_owned(), value.to_owned()));
            self.evict();
        }
    }

    fn evict(&mut self) {
        while self.table.iter().map(|(a, b)| a.len() + b.len() + 32).sum::<usize>() > self.max {
            self.table.pop();
        }
    }
}

fn text(out: &mut Vec<u8>, text: &str, is_coded: bool) {
    let octets = if is_coded {
        huffman::tests::encode(text.as_bytes())
    } else {
        text.as_bytes().to_vec()
    };
    integer::put(out, if is_coded { 0x80 } else { 0 }, 7, octets.len());
    out.extend(octets);
}

proptest! {
    #[test]
    fn what_any_encoder_says_is_decoded(blocks in prop::collection::vec(prop::collection::vec(said(), 0..8), 1..20)) {
        let mut encoder = Encoder { table: Vec::new(), max: 300 };
        let mut decoder = Decoder::new(300);
        for fields in blocks {
            let mut block = Vec::new();
            if let Some(max) = fields.first().and_then(|said| said.resizes) {
                encode::size_update(&mut block, u32::try_from(max).unwrap());
                encoder.max = max;
                encoder.evict();
            }
            for said in &fields {
                encoder.put(&mut block, said);
            }
            let expected: Vec<_> = fields.iter().map(|said| format!("{}: {}", said.name, said.value)).collect();
            prop_assert_eq!(decode(&mut decoder, &block, usize::MAX), (Ok(()), expected));
        }
    }

    #[test]
    fn our_own_encoder_is_understood(fields in prop::collection::vec(("[a-z-]{1,20}", "[ -~]{0,300}"), 0..10)) {
        let mut block = Vec::new();
        for (name, value) in &fields {
            encode::field(&mut block, Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
        }
        let expected: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let mut decoder = Decoder::new(0);
        prop_assert_eq!(decode(&mut decoder, &block, usize::MAX), (Ok(()), expected));
        prop_assert_eq!(decoder.table.printed().1, 0);
    }

    #[test]
    fn nothing_panics(blocks in prop::collection::vec(any::<Vec<u8>>(), 0..5), list_max in 0..1000_usize) {
        let mut decoder = Decoder::new(200);
        for block in blocks {
            drop(decode(&mut decoder, &block, list_max));
        }
    }
}
