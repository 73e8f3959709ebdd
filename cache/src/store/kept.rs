//! The content of a stored response: all of it, which is read without a lock, or what is still coming.

use std::sync::Arc;

use bytes::Bytes;
use common::http::body::Body;

use super::content::Content;

/// The content of a stored response, in four words: mostly it is whole and one piece, and needs nothing else.
#[derive(Clone, Debug)]
pub struct Kept(One<Rest>);

/// All of a content, in pieces.
// INVARIANT: no piece is empty, and a list has not just one.
#[derive(Clone, Debug)]
pub struct Whole(One<Arc<[Bytes]>>);

/// One piece that is all, or something else. There is place for one more case in the words of `Bytes`, not for two.
#[derive(Clone, Debug)]
enum One<Other> {
    Piece([Bytes; 1]),
    Other(Other),
}

#[derive(Clone, Debug)]
enum Rest {
    Pieces(Arc<[Bytes]>),
    Coming(Arc<Content>),
}

impl From<Whole> for Kept {
    fn from(Whole(whole): Whole) -> Self {
        Self(match whole {
            One::Piece(piece) => One::Piece(piece),
            One::Other(pieces) => One::Other(Rest::Pieces(pieces)),
        })
    }
}

impl Kept {
    /// Content that is there already.
    pub fn whole(content: Bytes) -> Self {
        Whole::of(vec![content]).into()
    }

    /// Content that a fill writes.
    pub const fn coming(content: Arc<Content>) -> Self {
        Self(One::Other(Rest::Coming(content)))
    }

    /// What a fill writes, or has written.
    pub const fn fill(&self) -> Option<&Arc<Content>> {
        match &self.0 {
            One::Other(Rest::Coming(content)) => Some(content),
            One::Other(Rest::Pieces(_)) | One::Piece(_) => None,
        }
    }

    /// The pieces, when all have come.
    pub fn pieces(&self) -> Option<&[Bytes]> {
        match &self.0 {
            One::Piece(piece) => Some(piece),
            One::Other(Rest::Pieces(pieces)) => Some(pieces),
            One::Other(Rest::Coming(content)) => content.whole().map(Whole::pieces),
        }
    }

    /// The length in bytes: of what is whole, or as announced.
    pub fn length(&self) -> Option<u64> {
        match self.fill() {
            Some(content) => content.length(),
            None => self.pieces().map(length),
        }
    }

    /// A body that reads this from its beginning; `None` when the beginning is gone or the fill has failed.
    pub fn body(&self) -> Option<Body> {
        match &self.0 {
            One::Piece([piece]) => Some(Body::Full(piece.clone())),
            One::Other(Rest::Pieces(pieces)) => Some(of_pieces(pieces)),
            One::Other(Rest::Coming(content)) => content.body(),
        }
    }
}

impl Whole {
    /// What these pieces make together.
    pub fn of(mut pieces: Vec<Bytes>) -> Self {
        pieces.retain(|piece| !piece.is_empty());
        Self(match <[Bytes; 1]>::try_from(pieces) {
            Ok(piece) => One::Piece(piece),
            Err(pieces) => One::Other(pieces.into()),
        })
    }

    /// The pieces.
    pub fn pieces(&self) -> &[Bytes] {
        match &self.0 {
            One::Piece(piece) => piece,
            One::Other(pieces) => pieces,
        }
    }

    /// The length in bytes.
    pub fn length(&self) -> u64 {
        length(self.pieces())
    }

    /// A body that is this.
    pub fn body(&self) -> Body {
        match &self.0 {
            One::Piece([piece]) => Body::Full(piece.clone()),
            One::Other(pieces) => of_pieces(pieces),
        }
    }
}

fn length(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

fn of_pieces(pieces: &Arc<[Bytes]>) -> Body {
    match &**pieces {
        [] => Body::Empty,
        _ => Body::chunks(Arc::clone(pieces)),
    }
}
