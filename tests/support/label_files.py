"""The contents of label files: all that end lines, and what does not."""

WRITTEN = {
    "plain": b"red\ngreen\nblue\n",
    "no end of the last line": b"red\ngreen\nblue",
    "Windows": b"red\r\ngreen\r\nblue\r\n",
    "byte order mark": b"\xef\xbb\xbfred\ngreen\nblue\n",
    "both": b"\xef\xbb\xbfred\r\ngreen\r\nblue",
}


# Each of them ends a line for str.splitlines, or for text read with universal newlines.
INSIDE = ("\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r")
