//! One exchange with a server over one connection.
