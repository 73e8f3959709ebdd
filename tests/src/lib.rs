//! The test fixture: scripted origin, client, processes.
