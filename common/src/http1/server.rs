//! One client connection: request after request, until somebody closes.
