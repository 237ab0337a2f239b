"""The processes that ask: closed and open loops, over the wire or in process."""
