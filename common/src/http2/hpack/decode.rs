//! A field block → its fields (RFC 7541 §3, §6). Keeps the dynamic table of one peer.
//!
//! Every block has to be decoded to its end, whatever becomes of its message: the table is the connection's. So fields
//! beyond a limit are not given any more, but the table goes on (what an "HPACK bomb" costs is then its own octets).

use super::table::{self, Dynamic, Entry};
use super::{huffman, integer};
use crate::http::known::Known;

/// A field as it was received: its name may have capitals, and both may have octets that they must not (RFC 9113 §8.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Which name it is.
    pub known: Known,
}

/// Why a block's fields are not all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not decode: "A receiver MUST treat this as a connection error of type `COMPRESSION_ERROR`" (RFC 9113 §4.3).
    #[error("a field block does not decode")]
    Compression,
    /// It has more than allowed. The table is right, and the next block can be decoded.
    #[error("a field section is larger than the limit")]
    TooLarge,
}

/// Decodes the blocks of one peer.
#[derive(Debug)]
pub struct Decoder {
    table: Dynamic,
    /// What we announced (`SETTINGS_HEADER_TABLE_SIZE`).
    table_max: usize,
    /// Texts that were in Huffman code, and names that refer to the dynamic table, of one field.
    scratch: Vec<u8>,
}

/// Octets that are kept from one block to the next.
const SCRATCH_KEPT: usize = 1024;

impl Decoder {
    /// For a peer that was told this size of its dynamic table, in octets: 4096 where it was told nothing. It is not
    /// lowered later; then the peer would have to say so at the start of a block (§4.2).
    pub const fn new(table_max: usize) -> Self {
        Self {
            table: Dynamic::new(table_max),
            table_max,
            scratch: Vec::new(),
        }
    }

    /// Decodes one block, and gives its fields in order, as long as their list has at most `list_max` octets: "the length of
    /// the name and value in units of octets plus an overhead of 32 octets for each field" (RFC 9113 §6.5.2).
    ///
    /// # Errors
    /// It does not decode, or has more than that.
    pub fn decode(&mut self, block: &[u8], list_max: usize, give: &mut impl FnMut(Field<'_>)) -> Result<(), Error> {
        let mut room = Some(list_max);
        let decoded = self.fields(block, &mut |field| {
            room = room.and_then(|room| room.checked_sub(table::size(&field)));
            if room.is_some() {
                give(field);
            }
        });
        if self.scratch.capacity() > SCRATCH_KEPT {
            self.scratch = Vec::new();
        }
        decoded.ok_or(Error::Compression)?;
        room.map(|_| ()).ok_or(Error::TooLarge)
    }

    /// `None` where it does not decode.
    fn fields(&mut self, mut block: &[u8], give: &mut impl FnMut(Field<'_>)) -> Option<()> {
        let mut is_start = true;
        while let Some(first) = block.first() {
            // How a field is represented shows in its first bits (§6).
            match *first {
                0x80.. => match table::get(&self.table, integer::take(&mut block, 7)?)? {
                    Entry::Static(field) | Entry::Dynamic(field) => give(field),
                },
                0x40..=0x7f => self.literal(&mut block, 6, true, give)?,
                // Not to be indexed, or never: that is a word to those who pass a field on in this form.
                0x00..=0x1f => self.literal(&mut block, 4, false, give)?,
                // "This dynamic table size update MUST occur at the beginning of the first header block following the change"
                // (§4.2). "The new maximum size MUST be lower than or equal to the limit determined by the protocol using
                // HPACK. A value that exceeds this limit MUST be treated as a decoding error." (§6.3)
                0x20..=0x3f => {
                    let max = integer::take(&mut block, 5).filter(|max| is_start && *max <= self.table_max)?;
                    self.table.resize(max);
                    continue;
                }
            }
            is_start = false;
        }
        Some(())
    }

    /// A field with its value, and its name or the index of an entry that has it (§6.2).
    fn literal(
        &mut self,
        block: &mut &[u8],
        prefix: u32,
        is_indexed: bool,
        give: &mut impl FnMut(Field<'_>),
    ) -> Option<()> {
        self.scratch.clear();
        let (name, known) = match integer::take(block, prefix)? {
            0 => (Text::take(block, &mut self.scratch)?, None),
            index => match table::get(&self.table, index)? {
                Entry::Static(entry) => (Text::Block(entry.name), Some(entry.known)),
                // "A new entry can reference the name of an entry in the dynamic table that will be evicted when adding this new
                // entry into the dynamic table. Implementations are cautioned to avoid deleting the referenced name" (§4.4).
                Entry::Dynamic(entry) => {
                    self.scratch.extend_from_slice(entry.name);
                    (Text::Scratch(entry.name.len()), Some(entry.known))
                }
            },
        };
        let begin = self.scratch.len();
        let value = Text::take(block, &mut self.scratch)?;
        let name = name.octets(&self.scratch);
        let field = Field {
            name,
            value: value.octets(&self.scratch[begin..]),
            known: known.unwrap_or_else(|| Known::of(name)),
        };
        give(field);
        if is_indexed {
            self.table.insert(&field);
        }
        Some(())
    }
}

/// Where a text is.
enum Text<'a> {
    Block(&'a [u8]),
    /// So many octets of the scratch buffer.
    Scratch(usize),
}

impl<'a> Text<'a> {
    /// Takes a string literal off the front of `block` (§5.2).
    fn take(block: &mut &'a [u8], scratch: &mut Vec<u8>) -> Option<Self> {
        let is_coded = block.first()? & 0x80 != 0;
        let length = integer::take(block, 7)?;
        let (octets, rest) = block.split_at_checked(length)?;
        *block = rest;
        if !is_coded {
            return Some(Self::Block(octets));
        }
        let begin = scratch.len();
        huffman::decode(octets, scratch)?;
        Some(Self::Scratch(scratch.len() - begin))
    }

    fn octets(self, scratch: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Block(octets) => octets,
            Self::Scratch(length) => &scratch[..length],
        }
    }
}

#[cfg(test)]
mod tests;
