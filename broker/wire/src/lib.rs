//! The NATS client protocol, without sockets: bytes in, operations out.
