"""The Lightspeed extension of a channel: an output divided beforehand into hash-locked claims.

Pure. Scheme `outputs`; Paper 2.1.
"""
