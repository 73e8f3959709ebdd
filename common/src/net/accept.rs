//! Taking connections: errors classified by errno, paced when descriptors or memory run out, never fatal.
