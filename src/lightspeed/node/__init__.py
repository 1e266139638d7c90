"""The daemon: peers, channels, wallet, chain watching, claims, storage and its API."""
