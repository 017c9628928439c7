"""Names whose bytes are vouched for by a checksum."""

import hashlib

from hiermodel.datasets.dataset import load

CHECKED = 1000
"""Training sequences that the checksum is of."""

CHECKSUMS = {
    "paper": "be8684028f5196619825fbaade2aaa1c78102dd82b85336b6bce632fead0507c",
    "rhm-v16-m4-s2-L4": "402a74f50cf38b5abd163b79ab5e75bd62a19ad5a2b48ceea46e93359823d2c0",
    "rhm-v16-m4-s2-L6": "25245d7c386f30d878ed9a873fc0f93ae4ada345a40ae73231dccb86e218bb35",
    "rhm-v32-m8-s2-L9": "86f1b41baa0c4726b222e1aff7194de865fb094ed1b2e7707f7cf82abc2fcec4",
    "rhm-v8-m4-s3-L3": "4b2eab315549f0407e088bfac0a08fe7ce42b2cad21b407835d434dcec20de9e",
}
"""SHA-256 per shipped name; any other name of the general form works as well."""


def checksum(name: str) -> str:
    """SHA-256 of the first 1000 training sequences of seed 0, as little-endian int32 by rows.

    It depends on the rules and on the drawing, and on no setting, device or version: where
    ``checksum(name) == CHECKSUMS[name]`` fails, the data are not those of the name.

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> hm.datasets.checksum("paper") == hm.datasets.CHECKSUMS["paper"]
        True
    """
    sequences = load(name, num=CHECKED).sequences
    return hashlib.sha256(sequences.astype("<i4").tobytes()).hexdigest()
