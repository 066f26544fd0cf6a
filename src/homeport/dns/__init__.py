"""Names to answers: a pure zone, its wire form, and the server."""
