"""Lightspeed: micropayments inside a Lightning channel at the price of one SHA-256.

Accepting payments needs `lightspeed.payment`, `lightspeed.ledger` and `lightspeed.http`;
they import nothing of the Lightning side. Everything else belongs to the node.
"""
