//! Token.
