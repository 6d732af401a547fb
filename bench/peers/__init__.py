"""The same work by graphc and its peers, side by side: each in an environment and a process of its own."""
