//! A socket with a read buffer, shared by the reader and the writer of one connection.
