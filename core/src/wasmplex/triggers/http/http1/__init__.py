"""HTTP/1.1 on a connection: bytes in and out, bounds, deadlines; what carries an exchange of ours."""
