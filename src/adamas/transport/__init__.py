"""How payloads travel: over TCP, in datagrams, over HTTP. An output of a protocol is one of these and says what a point is."""
