"""What puts work on a proxy: wrk with Lua scripts, and own generators where wrk cannot measure what is asked."""
