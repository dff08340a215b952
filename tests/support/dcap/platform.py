"""What our platform is: dates, identifiers and versions that its documents agree on."""

from datetime import UTC, datetime, timedelta

NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
YEAR = timedelta(days=365)
MONTH = timedelta(days=30)
FMSPC = "00a0b0c0d0e0"
PCE_ID = "0000"
PPID = bytes(range(16))
QE_MR_SIGNER = bytes(range(32))
TEE_TCB_SVN = bytes([5, 1, 6]) + bytes(13)
COMPONENTS = bytes([3, 3, 2, 2, 4, 1, 0, 5]) + bytes(8)
PCE_SVN = 11
ADVISORY = "OWN-SA-1"
