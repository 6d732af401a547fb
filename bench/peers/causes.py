"""Why graphc is slower than a peer, by workload and peer: written by hand, from the profiles of both.

The report prints a cause beside each row where graphc takes over 5 % longer, and says where one is still to be found.
"""

CAUSES: dict[tuple[str, str], str] = {}
