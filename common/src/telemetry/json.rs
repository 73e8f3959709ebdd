//! Writing JSON (RFC 8259) into a byte buffer, without a serialiser and without allocation.
//!
//! An [`Object`] or [`Array`] closes itself when it goes out of scope, so that what is written is always well-formed. Used
//! by the access log, the admin pages and error bodies.

/// An object being written.
#[derive(Debug)]
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

/// An array being written.
#[derive(Debug)]
pub struct Array<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

/// What can stand to the right of a name, or in an array.
pub trait Value {
    /// Appends the value as JSON text.
    fn write(&self, out: &mut Vec<u8>);
}

impl<'a> Object<'a> {
    /// Begins an object at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Appends a member. Names are ours: they need no escaping.
    #[inline]
    pub fn field(&mut self, name: &'static str, value: impl Value) -> &mut Self {
        self.name(name);
        value.write(self.out);
        self
    }

    /// Appends a member, or nothing when there is no value.
    #[inline]
    pub fn some(&mut self, name: &'static str, value: Option<impl Value>) -> &mut Self {
        if let Some(value) = value {
            self.field(name, value);
        }
        self
    }

    /// Appends a member that is an object.
    pub fn object(&mut self, name: &'static str) -> Object<'_> {
        self.name(name);
        Object::new(self.out)
    }

    /// Appends a member that is an array.
    pub fn array(&mut self, name: &'static str) -> Array<'_> {
        self.name(name);
        Array::new(self.out)
    }

    #[inline]
    fn name(&mut self, name: &'static str) {
        debug_assert!(
            plain_prefix(name.as_bytes()) == name.len(),
            "a name that needs escaping"
        );
        self.out.extend_from_slice(if self.empty { b"\"" } else { b",\"" });
        self.empty = false;
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

/// An object as a line of its own; `describe` writes its members.
pub fn line(describe: impl FnOnce(&mut Object<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    describe(&mut Object::new(&mut out));
    out.push(b'\n');
    out
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        self.out.push(b'}');
    }
}

impl<'a> Array<'a> {
    /// Begins an array at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'[');
        Self { out, empty: true }
    }

    /// Appends an item.
    pub fn item(&mut self, value: impl Value) -> &mut Self {
        self.comma();
        value.write(self.out);
        self
    }

    /// Appends an item that is an object.
    pub fn object(&mut self) -> Object<'_> {
        self.comma();
        Object::new(self.out)
    }

    /// Appends an item that is an array.
    pub fn array(&mut self) -> Array<'_> {
        self.comma();
        Array::new(self.out)
    }

    fn comma(&mut self) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
    }
}

impl Drop for Array<'_> {
    fn drop(&mut self) {
        self.out.push(b']');
    }
}

impl Value for str {
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        self.as_bytes().write(out);
    }
}

/// JSON that is written already, taken as it is: a whole value that its owner has made sure is one.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a>(pub &'a [u8]);

impl Value for Raw<'_> {
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }
}

/// Bytes from the network are text that may be broken: what is not UTF-8 becomes U+FFFD.
impl Value for [u8] {
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        push_text(out, self);
        out.push(b'"');
    }
}

/// Appends what stands between the quotes of a string.
pub(super) fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    let plain = plain_prefix(text);
    out.extend_from_slice(&text[..plain]);
    if plain < text.len() {
        write_lossily(out, &text[plain..]);
    }
}

impl Value for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

/// A number that JSON has no word for (not a number, infinite) is `null`.
impl Value for f64 {
    fn write(&self, out: &mut Vec<u8>) {
        if self.is_finite() {
            out.extend_from_slice(self.to_string().as_bytes());
        } else {
            NULL.write(out);
        }
    }
}

/// `None` is `null`.
impl<V: Value> Value for Option<V> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write(out),
            None => out.extend_from_slice(b"null"),
        }
    }
}

impl<V: Value + ?Sized> Value for &V {
    fn write(&self, out: &mut Vec<u8>) {
        (**self).write(out);
    }
}

macro_rules! integers {
    ($($integer:ty)*) => {$(
        impl Value for $integer {
            #[inline]
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
            }
        }
    )*};
}

integers!(u16 u32 u64 usize i32 i64);

/// How many bytes at the start of `text` any log format can take as they are: printable ASCII but `"` and `\`.
#[inline]
pub(super) fn plain_prefix(text: &[u8]) -> usize {
    if is_plain_text(text) {
        text.len()
    } else {
        text.iter().take_while(|byte| is_plain(byte)).count()
    }
}

/// Sixteen bytes at a time, or eight, or four; the last of them overlap those before.
fn is_plain_text(text: &[u8]) -> bool {
    if let Some(last) = text.last_chunk() {
        let (chunks, _) = text.as_chunks();
        return chunks.iter().all(is_plain_chunk) && is_plain_chunk(last);
    }
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        return is_plain_word(*first) && is_plain_word(*last);
    }
    if let (Some([a, b, c, d]), Some([e, f, g, h])) = (text.first_chunk(), text.last_chunk()) {
        return is_plain_word([*a, *b, *c, *d, *e, *f, *g, *h]);
    }
    text.iter().all(is_plain)
}

/// Without a branch per byte, so that a compiler makes vector instructions of it.
fn is_plain_chunk(chunk: &[u8; 16]) -> bool {
    chunk.iter().fold(true, |plain, byte| plain & is_plain(byte))
}

fn is_plain(byte: &u8) -> bool {
    (*byte >= b' ') & (*byte <= b'~') & (*byte != b'"') & (*byte != b'\\')
}

/// The same of eight bytes at once. A byte that borrows from the next one is itself not plain, so the answer is exact.
fn is_plain_word(bytes: [u8; 8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = 0x80 * ONES;
    let word = u64::from_ne_bytes(bytes);
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word;
    let controls = word.wrapping_sub(0x20 * ONES) & !word;
    let special =
        zero_bytes(word ^ (0x22 * ONES)) | zero_bytes(word ^ (0x5c * ONES)) | zero_bytes(word ^ (0x7f * ONES));
    (word | controls | special) & HIGHS == 0
}

#[cold]
fn write_lossily(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        write_escaped(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// RFC 8259 §7: "the characters that MUST be escaped: quotation mark, reverse solidus, and the control characters (U+0000
/// through U+001F)." DEL and the C1 controls are escaped too: JSON need not, but terminals obey them.
fn write_escaped(out: &mut Vec<u8>, text: &[u8]) {
    let mut written = 0;
    for (at, byte) in text.iter().enumerate() {
        let escape = ESCAPED[usize::from(*byte)];
        if escape == CLEAN {
            continue;
        }
        let next = text.get(at + 1).copied().unwrap_or_default();
        if escape == MAYBE_C1 && next >= 0xa0 {
            continue;
        }
        out.extend_from_slice(&text[written..at]);
        written = at + 1;
        match escape {
            // U+0080 to U+009F are the bytes C2 80 to C2 9F: the second is the character's number.
            MAYBE_C1 => {
                write_u_escape(out, next);
                written += 1;
            }
            U_ESCAPE => write_u_escape(out, *byte),
            letter => out.extend_from_slice(&[b'\\', letter]),
        }
    }
    out.extend_from_slice(&text[written..]);
}

fn write_u_escape(out: &mut Vec<u8>, character: u8) {
    let hex = |nibble: u8| HEX[usize::from(nibble)];
    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(character >> 4), hex(character & 15)]);
}

/// Nothing, whatever type was expected.
const NULL: Option<bool> = None;

const HEX: &[u8; 16] = b"0123456789abcdef";

const CLEAN: u8 = 0;
const U_ESCAPE: u8 = b'u';
const MAYBE_C1: u8 = 0xc2;

/// How each byte of UTF-8 is written: itself, after a backslash as this letter, as `\u00..`, or as its next byte says.
static ESCAPED: [u8; 256] = {
    let mut table = [CLEAN; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = U_ESCAPE;
        control += 1;
    }
    table[0x7f] = U_ESCAPE;
    table[0xc2] = MAYBE_C1;
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\t' as usize] = b't';
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: impl Value) -> String {
        let mut out = Vec::new();
        value.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn objects_and_arrays_nest_and_close_themselves() {
        let mut out = b"x".to_vec();
        let mut object = Object::new(&mut out);
        object
            .field("a", 1_u64)
            .some("b", Some("c"))
            .some("d", None::<&str>)
            .field("e", None::<u64>);
        object.object("empty");
        object.array("none");
        let mut array = object.array("list");
        array.item(true).item(-1_i64);
        array.object().field("x", 0.5).field("y", f64::NAN);
        array.array().item(f64::INFINITY);
        drop(array);
        object.field("last", false);
        drop(object);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"x{"a":1,"b":"c","e":null,"empty":{},"none":[],"list":[true,-1,{"x":0.5,"y":null},[null]],"last":false}"#
        );
    }

    #[test]
    fn text_is_escaped_so_that_it_is_json_and_no_terminal_obeys_it() {
        for (text, expected) in [
            ("", r#""""#),
            ("plain", r#""plain""#),
            ("a\"b\\c/d", r#""a\"b\\c/d""#),
            ("\r\n\t", r#""\r\n\t""#),
            ("\0\u{1b}[0m\u{7f}", r#""\u0000\u001b[0m\u007f""#),
            ("\u{80}\u{9b}x\u{9f}", r#""\u0080\u009bx\u009f""#),
            ("\u{a0}é€😀", "\"\u{a0}é€😀\""),
        ] {
            assert_eq!(written(text), expected, "{text:?}");
            assert_eq!(written(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_become_replacement_characters() {
        for (bytes, expected) in [
            (&b"\xff"[..], "\"\u{fffd}\""),
            (b"a\xc3(b", "\"a\u{fffd}(b\""),
            (b"\xc2", "\"\u{fffd}\""),
            (b"\xe2\x82", "\"\u{fffd}\""),
            (b"\xed\xa0\x80\"", "\"\u{fffd}\u{fffd}\u{fffd}\\\"\""),
            (b"\xc3\xa9\x80", "\"é\u{fffd}\""),
        ] {
            assert_eq!(written(bytes), expected, "{bytes:x?}");
        }
    }

    /// Every byte at every place of words, their tails and what is shorter than a word.
    #[test]
    fn text_is_plain_up_to_the_first_byte_that_is_not() {
        for len in [1, 7, 8, 9, 15, 16, 17, 31] {
            for at in 0..len {
                for byte in 0..=u8::MAX {
                    for around in [b' ', b'~', b'!', b'#', b'[', b']', b'0'] {
                        let mut text = vec![around; len];
                        text[at] = byte;
                        let is_plain = (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
                        assert_eq!(plain_prefix(&text), if is_plain { len } else { at }, "{text:x?}");
                    }
                }
            }
        }
        assert_eq!(plain_prefix(b""), 0);
        assert_eq!(plain_prefix(b"a\"b\\c and more text"), 1, "the first of many");
    }

    #[test]
    fn numbers_are_written_whole() {
        assert_eq!(written(u64::MAX), "18446744073709551615");
        assert_eq!(written(i64::MIN), "-9223372036854775808");
        assert_eq!(written(1e21), "1000000000000000000000");
        assert_eq!(written(1700000000.25), "1700000000.25");
    }
}
