//! Whole journeys: commits go in, clusters follow. Embedded API servers, a real Git server, real HTTPS.

mod fleet;
mod one_cluster;
mod world;
