//! The API: Flux's kinds and Fairway's own, conditions, inventory ids.
