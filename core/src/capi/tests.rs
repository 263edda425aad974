//! Misuse, and the life of a driver, through the exported functions.
