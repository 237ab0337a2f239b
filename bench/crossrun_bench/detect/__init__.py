"""`crossrun-bench detect`: what a running server finds in pictures and videos, drawn on them."""
