//! Git servers, fleets of embedded or real API servers and fault injection for tests.
