"""Load on servers: closed and open loops, the generator, other servers beside ours."""
