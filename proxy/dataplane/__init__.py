"""The worker: client connections, exchanges, connections to servers, tunnels, deadlines."""
